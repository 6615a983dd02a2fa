//! Parses a line of options as Docker's command line does (spf13/pflag, `parseArgs`, with the image
//! as the first word that is not an option).

use std::iter::Peekable;

use super::flag::Flag;
use super::{Error, Options, Trailing};
use crate::arguments;

const UNKNOWN: &str = "the hook does not support it";
const STRAY: &str = "it belongs to no option; use double quotes for values with spaces";

type Words = Peekable<std::vec::IntoIter<(usize, String)>>;

/// Parses a line. `image` is the container's own.
pub(super) fn read(line: &str, image: &str) -> Result<Options, Error> {
    let mut options = Options::default();
    // In Docker mode the line break would become part of the value before it, which is never
    // intended.
    let words = arguments::split(&line.replace(['\n', '\r'], " "));
    let numbered: Vec<(usize, String)> = (1..).zip(words).collect();
    let quoted = |before: usize| {
        numbered.iter().any(|(at, word)| *at < before && word.split('=').any(opens_quote))
    };
    let mut words = numbered.clone().into_iter().peekable();
    while let Some((at, word)) = words.next() {
        if word == "--" {
            continue;
        }
        if let Some(letters) = word.strip_prefix('-').filter(|rest| !rest.is_empty()) {
            if letters.starts_with('-') {
                long(&mut options, &word, &mut words, image)?;
            } else {
                short(&mut options, letters, &mut words, image)?;
            }
        } else if is_of(&word, image) {
            let command = words.map(|(_, word)| word).collect();
            options.trailing = Some(Trailing { image: word, command });
            break;
        } else if quoted(at) {
            return Err(Error::SingleQuote(at));
        } else if word.contains(['/', ':', '@']) {
            return Err(Error::OtherImage(at));
        } else {
            options.leave(&format!("word {at}"), STRAY);
        }
    }
    Ok(options)
}

fn opens_quote(text: &str) -> bool {
    text.starts_with('\'')
}

/// `--name`, `--name=value`, `--name value`.
fn long(options: &mut Options, word: &str, words: &mut Words, image: &str) -> Result<(), Error> {
    let (name, inline) = match word.split_once('=') {
        Some((name, value)) => (name, Some(value.to_owned())),
        None => (word, None),
    };
    let Some(flag) = Flag::long(name) else {
        options.leave(name, UNKNOWN);
        if inline.is_none() {
            skip_value(words, image);
        }
        return Ok(());
    };
    if flag.is_switch {
        return options.switch(flag, inline.as_deref());
    }
    options.value(flag, value(inline, name, words)?)
}

/// `-it`, `-u1000`, `-e=A=b`, `-e A=b`.
fn short(
    options: &mut Options,
    letters: &str,
    words: &mut Words,
    image: &str,
) -> Result<(), Error> {
    let mut rest = letters;
    while let Some(letter) = rest.chars().next() {
        rest = rest.get(letter.len_utf8()..).unwrap_or_default();
        let inline = rest.strip_prefix('=').filter(|value| !value.is_empty());
        let Some(flag) = Flag::short(letter) else {
            options.leave(&format!("-{letter}"), UNKNOWN);
            // The rest of the word may be its value.
            if rest.is_empty() {
                skip_value(words, image);
            }
            return Ok(());
        };
        if flag.is_switch {
            options.switch(flag, inline)?;
            if inline.is_some() {
                return Ok(());
            }
            continue;
        }
        let joined = inline.or((!rest.is_empty()).then_some(rest));
        let value = value(joined.map(str::to_owned), &format!("-{letter}"), words)?;
        return options.value(flag, value);
    }
    Ok(())
}

fn value(inline: Option<String>, name: &str, words: &mut Words) -> Result<String, Error> {
    let value = inline.or_else(|| words.next().map(|(_, word)| word));
    value.ok_or_else(|| Error::NoValue(name.to_owned()))
}

/// The next word is the value of an unknown option, unless it is an option itself, or the image.
fn skip_value(words: &mut Words, image: &str) {
    words.next_if(|(_, word)| !word.starts_with('-') && !is_of(word, image));
}

/// Whether a word is the container's image: the same repository with any tag.
fn is_of(word: &str, image: &str) -> bool {
    fn repository(image: &str) -> &str {
        let image = image.strip_prefix("docker.io/").unwrap_or(image);
        let image = image.strip_prefix("library/").unwrap_or(image);
        let image = image.split_once('@').map_or(image, |(name, _)| name);
        match image.rsplit_once(':') {
            // A colon before a slash belongs to a registry's port.
            Some((name, tag)) if !tag.contains('/') => name,
            _ => image,
        }
    }
    !word.is_empty() && !word.starts_with('-') && repository(word) == repository(image)
}
