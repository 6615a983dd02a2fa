//! Lists of at most so many elements: an agent has its own bounds, and what is no agent has none. A
//! short element takes many times its text's memory.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, Error as _, SeqAccess, Visitor};

/// Reads a list, and fails with its `N + 1`st element.
pub(crate) fn at_most<'de, const N: usize, T, D>(from: D) -> Result<Vec<T>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    from.deserialize_seq(Bounded::<N, T>(PhantomData))
}

struct Bounded<const N: usize, T>(PhantomData<T>);

impl<'de, const N: usize, T: Deserialize<'de>> Visitor<'de> for Bounded<N, T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a list of at most {N}")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Vec<T>, A::Error> {
        let mut list = Vec::new();
        while let Some(one) = from.next_element()? {
            if list.len() == N {
                return Err(A::Error::custom(format_args!("a list has more than {N} elements")));
            }
            list.push(one);
        }
        Ok(list)
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::at_most;

    #[derive(Debug, Deserialize)]
    struct Answer {
        #[serde(deserialize_with = "at_most::<2, _, _>")]
        list: Vec<u8>,
    }

    #[test]
    fn a_list_that_is_too_long_is_no_answer() {
        let list = |text: &str| serde_json::from_str::<Answer>(text).map(|answer| answer.list);
        assert_eq!(list(r#"{"list":[1,2]}"#).unwrap(), [1, 2]);
        let error = list(r#"{"list":[1,2,3]}"#).unwrap_err().to_string();
        assert!(error.starts_with("a list has more than 2 elements"), "{error}");
    }
}
