//! What hook and init say to each other, and what others say in their place.

use std::sync::LazyLock;

use ephemon_contract::session::{Opening, SessionError, accept};
use ephemon_contract::{
    Frames, MAX_HELLO_BYTES, MAX_REPLY_BYTES, MAX_REQUEST_BYTES, Malformed, Reply, Request, Token,
};

use super::pieces;

static TOKEN: LazyLock<Token> = LazyLock::new(|| Token::from_random([7; 32]));

/// The first byte says what `data` is: a request, a reply, or a stream of frames.
pub(super) fn wire(data: &[u8]) {
    let Some((kind, body)) = data.split_first() else { return };
    match kind % 3 {
        0 => {
            if let Ok(request) = Request::decode(body) {
                // Each value has one encoding only.
                assert_eq!(request.encode().expect("no longer than it came")[4..], *body);
            }
        }
        1 => {
            if let Ok(reply) = Reply::decode(body)
                && body.len() <= MAX_REPLY_BYTES
            {
                assert_eq!(reply.encode().expect("no longer than it came")[4..], *body);
            }
        }
        _ => frames(body),
    }
}

/// Frames come out the same however the stream is cut, none of them too long.
fn frames(stream: &[u8]) {
    let cut = |step: usize, limit: usize| {
        let (mut frames, mut found) = (Frames::new(limit), Vec::new());
        for piece in stream.chunks(step) {
            frames.feed(piece);
            loop {
                match frames.next_frame() {
                    Ok(Some(frame)) => found.push(frame),
                    Ok(None) => break,
                    Err(wrong) => return (found, Some(wrong)),
                }
            }
        }
        (found, None)
    };
    for limit in [MAX_HELLO_BYTES, MAX_REQUEST_BYTES] {
        let at_once = cut(stream.len().max(1), limit);
        assert!(at_once.0.iter().all(|frame| frame.len() <= limit), "longer than {limit}");
        assert_eq!(at_once, cut(3, limit), "in pieces");
    }
}

/// A session with somebody between hook and init. The first byte says who is attacked; then each
/// piece is a frame that was said, its first byte what is done to it.
pub(super) fn session(data: &[u8]) {
    let Some((kind, rest)) = data.split_first() else { return };
    match kind % 3 {
        0 => against_init(rest),
        1 => against_hook(rest),
        _ => between(rest),
    }
}

/// A peer without the container's key.
fn against_init(data: &[u8]) {
    let (hook, key) = (TOKEN.hook_key(), TOKEN.container_key("job"));
    let Some((theirs, rest)) = data.split_first_chunk() else { return };
    let (_, mut channel, transcript) = match accept(&hook, &key, "job", theirs) {
        Ok(accepted) => accepted,
        Err(error) => return assert_eq!(error, SessionError::Key),
    };
    if let Some(signature) = rest.first_chunk() {
        assert!(!transcript.is_signed(&hook, signature), "a signature by nobody");
    }
    assert_eq!(channel.open(rest.to_vec()), Err(Malformed::Seal));
}

fn against_hook(data: &[u8]) {
    let Some((theirs, rest)) = data.split_first_chunk() else { return };
    let opening = Opening::new().expect("random numbers");
    match opening.finish(&TOKEN, "job", theirs) {
        Ok((mut channel, _)) => assert_eq!(channel.open(rest.to_vec()), Err(Malformed::Seal)),
        Err(error) => assert_eq!(error, SessionError::Key),
    }
}

/// Frames that are changed, left out, repeated or swapped: what opens is what was said, in order, and
/// nothing opens after the first that was touched.
fn between(data: &[u8]) {
    let opening = Opening::new().expect("random numbers");
    let (hook, key) = (TOKEN.hook_key(), TOKEN.container_key("job"));
    let (answer, mut init, transcript) =
        accept(&hook, &key, "job", &opening.public()).expect("the hook's own key");
    let (mut channel, signature) = opening.finish(&TOKEN, "job", &answer).expect("init's own key");
    assert!(transcript.is_signed(&hook, &signature), "the hook's own");
    let (mut said, mut sent, mut honest) = (Vec::new(), Vec::<Vec<u8>>::new(), 0);
    let mut touched = false;
    for (number, piece) in pieces(data).into_iter().enumerate() {
        let (deed, body) = piece.split_first().unwrap_or((&0, &[]));
        let length = u32::try_from(body.len()).expect("short").to_le_bytes();
        let mut sealed = channel.seal([&length, body].concat()).expect("short").split_off(4);
        said.push(body.to_vec());
        match deed % 6 {
            1 => sent.extend([sealed.clone(), sealed]),
            2 => {}
            3 => sent.insert(sent.len().saturating_sub(1), sealed),
            4 => {
                let at = number % sealed.len();
                sealed[at] ^= 1 << (deed % 8);
                sent.push(sealed);
            }
            5 => {
                sealed.truncate(usize::from(*deed).min(sealed.len() - 1));
                sent.push(sealed);
            }
            _ => sent.push(sealed),
        }
        // An only frame cannot change places.
        let untouched = deed % 6 == 0 || (deed % 6 == 3 && sent.len() == 1);
        touched |= !untouched;
        honest += usize::from(!touched);
    }
    let opened: Vec<_> = sent.into_iter().map(|sealed| init.open(sealed)).collect();
    let good = opened.iter().take_while(|one| one.is_ok()).count();
    assert!(good >= honest.saturating_sub(1), "{good} of {honest} that nobody touched");
    assert!(opened.iter().skip(good).all(Result::is_err), "opened after one that was touched");
    for (opened, said) in opened.iter().flatten().zip(&said) {
        assert_eq!(opened, said, "another word");
    }
}
