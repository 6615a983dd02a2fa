//! Joins and quotes words: the pieces of the runner's requests, and words in the pod's spec.

/// The line that the runner split into the pieces. Several spaces in a row have become one.
pub(super) fn join<'a>(first: Option<&'a str>, pieces: &'a [String]) -> String {
    let all: Vec<&str> = first.into_iter().chain(pieces.iter().map(String::as_str)).collect();
    all.join(" ")
}

/// Quotes a word of a workflow for a pod's spec, where Kubernetes expands `$(NAME)`, and `$$` is a
/// literal dollar sign.
pub(super) fn literal(word: &str) -> String {
    word.replace('$', "$$")
}
