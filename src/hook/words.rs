//! Lines of words: the pieces of the runner's requests, and words of the pod's spec.

/// The line of which the runner made the pieces. Several blanks in a row have become one.
pub(super) fn join<'a>(first: Option<&'a str>, pieces: &'a [String]) -> String {
    let all: Vec<&str> = first.into_iter().chain(pieces.iter().map(String::as_str)).collect();
    all.join(" ")
}

/// The words of a workflow in a pod's spec, where `$(NAME)` is Kubernetes' and `$$` its dollar sign.
pub(super) fn literal(word: &str) -> String {
    word.replace('$', "$$")
}
