//! The query part of a URL. Pure.

/// Decoded parameters in their order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Query(Vec<(String, String)>);

// === impl Query ===

impl Query {
    /// Parses `a=b&c=d`, and decodes percent and plus signs.
    pub(super) fn parse(text: &str) -> Self {
        let pair = |part: &str| {
            let (key, value) = part.split_once('=').unwrap_or((part, ""));
            (decode(key), decode(value))
        };
        Self(text.split('&').filter(|p| !p.is_empty()).map(pair).collect())
    }

    /// A parameter; an empty one counts as missing.
    pub(super) fn get(&self, key: &str) -> Option<&str> {
        let found = self.0.iter().find(|(name, _)| name == key);
        found.map(|(_, value)| value.as_str()).filter(|v| !v.is_empty())
    }

    /// All values of a parameter that can occur several times.
    pub(super) fn all<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    /// A flag: `true` and `1` set it.
    pub(super) fn flag(&self, key: &str) -> bool {
        matches!(self.get(key), Some("true" | "1"))
    }
}

fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let byte = match byte {
            b'+' => b' ',
            b'%' => {
                let mut ahead = rest.clone();
                let hex = |b: Option<u8>| b.and_then(|b| char::from(b).to_digit(16));
                match (hex(ahead.next()), hex(ahead.next())) {
                    (Some(high), Some(low)) => {
                        rest = ahead;
                        u8::try_from(high.wrapping_mul(16).wrapping_add(low)).unwrap_or(b'%')
                    }
                    _ => b'%',
                }
            }
            other => other,
        };
        bytes.push(byte);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn parameters_are_decoded() {
        let query = Query::parse("watch=1&labelSelector=a%3DTrue%2Cb+in+%28c%29&x=&limit");
        assert!(query.flag("watch"));
        assert_eq!(query.get("labelSelector"), Some("a=True,b in (c)"));
        assert_eq!(query.get("x"), None);
        assert_eq!(query.get("limit"), None);
        assert_eq!(Query::parse("a=100%").get("a"), Some("100%"));
    }

    proptest! {
        #[test]
        fn what_is_encoded_byte_by_byte_comes_back(text in "\\PC{1,20}") {
            let encoded = text.bytes().fold(String::new(), |all, b| format!("{all}%{b:02X}"));
            let query = Query::parse(&format!("k={encoded}"));
            prop_assert_eq!(query.get("k"), Some(text.as_str()));
        }
    }
}
