//! Advice on requests and limits of runners, from what jobs used.
//!
//! [`Queries`] are what Prometheus is asked, [`Gathering`] adds its answers up to one [`JobUse`] for
//! each job; [`Counts`] are the same of an agent's own `/metrics`, without single jobs. Both become a
//! [`Usage`] for each [`Kind`] of job. [`Rule`] says what follows from it, [`Advice`] is all of that,
//! and `table`, `markdown` and `values` write it. Nothing here is I/O. Every label is hostile text:
//! jobs' authors choose names of workflows and jobs.

mod advice;
mod amount;
mod answer;
mod counts;
mod gathering;
mod job;
mod labels;
mod left_out;
mod markdown;
mod matcher;
mod messages;
mod queries;
mod rule;
mod scale_set;
mod shown;
mod spread;
mod table;
mod usage;
mod values;

pub use advice::{Advice, Money, Price, Row, Source};
pub use amount::Resources;
pub use answer::{AnswerError, Sample, label_names, vector};
pub use counts::{Counts, CountsError};
pub use gathering::Gathering;
pub use job::{JobUse, Kind};
pub use labels::Labels;
pub use left_out::LeftOut;
pub use markdown::markdown;
pub use matcher::{Matcher, MatcherError};
pub use queries::{Queries, Question};
pub use rule::{Risk, Rule, Verdict};
pub use scale_set::ScaleSet;
pub use spread::Spread;
pub use table::table;
pub use usage::Usage;
