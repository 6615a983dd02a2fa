//! The formats of an answer, and which of them a client asks for.

/// A format that Prometheus and its kin read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// Prometheus text 0.0.4, which everything reads.
    #[default]
    Text,
    /// OpenMetrics 1.0.
    OpenMetrics,
    /// Prometheus' protobuf, the one format with native histograms.
    Protobuf,
}

/// The message of [`Format::Protobuf`].
const MESSAGE: &str = "io.prometheus.client.MetricFamily";

/// One media range of an `Accept` header.
struct Range<'a> {
    kind: &'a str,
    version: Option<&'a str>,
    /// Protobuf's message and how it is encoded.
    proto: Option<&'a str>,
    encoding: Option<&'a str>,
    /// Thousandths.
    quality: u16,
}

// === impl Format ===

impl Format {
    /// The `Content-Type` of an answer in this format.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Protobuf => {
                "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; \
                 encoding=delimited"
            }
        }
    }

    /// The format an `Accept` header prefers.
    ///
    /// OpenMetrics and protobuf are only for who names them; where both are as welcome, protobuf, which
    /// has more (so ask Prometheus 2.40 to 2.48 for native histograms). Where nothing fits, the answer
    /// is 0.0.4 rather than 406: a person with a browser is better served by text than by a refusal.
    pub fn negotiate(accept: &str) -> Self {
        let ranges: Vec<_> = accept.split(',').filter_map(Range::parse).collect();
        let open = best(&ranges, Range::takes_open_metrics);
        let protobuf = best(&ranges, Range::takes_protobuf);
        let text = text_quality(&ranges);
        if protobuf > 0 && protobuf >= open.max(text) {
            Self::Protobuf
        } else if open > 0 && open >= text {
            Self::OpenMetrics
        } else {
            Self::Text
        }
    }
}

/// The highest quality of the ranges that a format is in; 0 for none.
fn best<'a>(ranges: &[Range<'a>], takes: impl Fn(&Range<'a>) -> bool) -> u16 {
    ranges.iter().filter(|range| takes(range)).map(|range| range.quality).max().unwrap_or(0)
}

/// The quality of 0.0.4: of the most specific range that takes it (RFC 9110 §12.5.1).
fn text_quality(ranges: &[Range<'_>]) -> u16 {
    let of = |kind: &str| {
        ranges
            .iter()
            .filter(|range| range.kind.eq_ignore_ascii_case(kind))
            .filter(|range| range.version.is_none_or(|version| version == "0.0.4"))
            .map(|range| range.quality)
            .max()
    };
    of("text/plain").or_else(|| of("text/*")).or_else(|| of("*/*")).unwrap_or(0)
}

// === impl Range ===

impl<'a> Range<'a> {
    /// `None` for a range with a quality that is no number: it says nothing we could weigh.
    fn parse(text: &'a str) -> Option<Self> {
        let mut parts = text.split(';').map(str::trim);
        let mut range =
            Self { kind: parts.next()?, version: None, proto: None, encoding: None, quality: 1000 };
        for part in parts {
            let Some((name, value)) = part.split_once('=') else {
                continue;
            };
            let value = value.trim().trim_matches('"');
            match &*name.trim().to_ascii_lowercase() {
                "version" => range.version = Some(value),
                "proto" => range.proto = Some(value),
                "encoding" => range.encoding = Some(value),
                "q" => range.quality = thousandths(value)?,
                _ => {}
            }
        }
        Some(range)
    }

    fn takes_open_metrics(&self) -> bool {
        self.kind.eq_ignore_ascii_case("application/openmetrics-text")
            && self.version.is_none_or(|version| version == "1.0.0")
    }

    fn takes_protobuf(&self) -> bool {
        self.kind.eq_ignore_ascii_case("application/vnd.google.protobuf")
            && self.proto.is_none_or(|proto| proto == MESSAGE)
            && self.encoding.is_none_or(|encoding| encoding == "delimited")
    }
}

/// `qvalue` of RFC 9110 §12.4.2: 0 to 1 with at most three decimals.
fn thousandths(text: &str) -> Option<u16> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if fraction.len() > 3 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let fraction: u16 = format!("{fraction:0<3}").parse().ok()?;
    match whole {
        "0" => Some(fraction),
        "1" if fraction == 0 => Some(1000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn clients_get_what_they_prefer() {
        let cases = [
            ("", Format::Text),
            ("*/*", Format::Text),
            ("text/html,application/xhtml+xml,*/*;q=0.8", Format::Text),
            ("text/plain;version=0.0.4", Format::Text),
            ("application/openmetrics-text;version=1.0.0", Format::OpenMetrics),
            ("application/openmetrics-text", Format::OpenMetrics),
            ("Application/OpenMetrics-Text; version=\"1.0.0\"", Format::OpenMetrics),
            ("application/openmetrics-text;version=0.0.1", Format::Text),
            ("application/openmetrics-text;q=0, text/plain", Format::Text),
            ("application/openmetrics-text;q=0.4,text/plain;q=0.6", Format::Text),
            ("application/openmetrics-text;q=0.6,text/plain;q=0.4", Format::OpenMetrics),
            ("application/openmetrics-text;q=0.2,*/*;q=0.4,text/plain;q=0.1", Format::OpenMetrics),
            ("application/openmetrics-text;q=nonsense", Format::Text),
        ];
        for (accept, format) in cases {
            assert_eq!(Format::negotiate(accept), format, "{accept}");
        }
    }

    #[test]
    fn who_scrapes_native_histograms_gets_protobuf() {
        let proto = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily";
        let two = format!(
            "{proto};encoding=delimited,application/openmetrics-text;version=1.0.0;q=0.8,\
             application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,\
             */*;q=0.1"
        );
        assert_eq!(Format::negotiate(&two), Format::Protobuf);
        let three = format!(
            "{proto};encoding=delimited;q=0.7,application/openmetrics-text;version=1.0.0;\
             escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=0.0.1;q=0.5,\
             text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,\
             */*;q=0.2"
        );
        assert_eq!(Format::negotiate(&three), Format::Protobuf);
        assert_eq!(Format::negotiate(&three.replace("q=0.7", "q=0")), Format::OpenMetrics);
        assert_eq!(Format::negotiate(&three.replace("proto=", "Proto = ")), Format::Protobuf);
        let equal =
            format!("{proto};encoding=delimited,application/openmetrics-text;version=1.0.0");
        assert_eq!(Format::negotiate(&equal), Format::Protobuf);
        for other in ["encoding=text", "encoding=compact-text", "encoding=delimited;q=0.3"] {
            let accept = format!("{proto};{other},text/plain;version=0.0.4;q=0.5");
            assert_eq!(Format::negotiate(&accept), Format::Text, "{accept}");
        }
        let another = "application/vnd.google.protobuf;proto=other.Message;encoding=delimited";
        assert_eq!(Format::negotiate(another), Format::Text);
    }

    #[test]
    fn prometheus_old_and_new_gets_openmetrics() {
        let two = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;\
                   version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        let three = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,\
                     application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=1.0.0;\
                     escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2,/;q=0.1";
        assert_eq!(Format::negotiate(two), Format::OpenMetrics);
        assert_eq!(Format::negotiate(three), Format::OpenMetrics);
    }

    proptest! {
        #[test]
        fn no_header_is_too_odd_to_answer(accept in ".{0,200}") {
            Format::negotiate(&accept);
        }

        #[test]
        fn every_qvalue_is_read_back(quality in 0_u16..=1000) {
            let text = format!("{}.{:03}", quality / 1000, quality % 1000);
            prop_assert_eq!(thousandths(&text), Some(quality));
        }
    }
}
