//! What stands by and what is missing, step by step.

use super::*;

fn shape(text: &str) -> Shape {
    serde_json::from_value(serde_json::json!(text)).unwrap()
}

fn uses(images: &[&str], is_counted: bool) -> Uses {
    let one = |image: &&str| Use { image: (*image).to_owned(), entry_point: true };
    Uses { list: images.iter().map(one).collect(), is_counted }
}

fn book(most: usize, images: &[&str], is_counted: bool) -> Book {
    let mut view = PodView::default();
    view.containers.push("standby".to_owned());
    let mut book = Book::new(most, view);
    book.expect(uses(images, is_counted), |_| true);
    book
}

/// Makes what is missing; the images, and the names as `image-N`.
fn fill(book: &mut Book, made: &mut usize) -> Vec<String> {
    let mut images = Vec::new();
    while let Some(image) = book.missing() {
        *made += 1;
        let name = format!("{image}-{made}");
        book.reserve(&name, &image, shape(&image));
        book.asked(&[&name]);
        images.push(image);
    }
    images
}

#[test]
fn as_many_stand_by_as_steps_are_to_come_in_their_order() {
    for (most, images, expected) in [
        (2, &["a", "a", "b"][..], &["a", "a"][..]),
        (3, &["a", "b", "a", "c"], &["a", "b", "a"]),
        (4, &["a"], &["a"]),
        (4, &[], &[]),
    ] {
        let mut book = book(most, images, true);
        assert_eq!(fill(&mut book, &mut 0), expected, "{most} {images:?}");
    }
}

#[test]
fn behind_each_step_the_next_one_is_made_and_after_the_last_none() {
    let mut book = book(2, &["a", "a", "b", "a"], true);
    let mut made = 0;
    assert_eq!(fill(&mut book, &mut made), ["a", "a"]);
    let mut step = |book: &mut Book, image: &str| {
        let taken = book.take(image, &shape(image));
        book.used(image);
        if let Some(one) = &taken {
            book.settle(one);
        }
        (taken, fill(book, &mut made))
    };
    assert_eq!(step(&mut book, "a"), (Some("a-1".to_owned()), vec!["b".to_owned()]));
    // A step that was left out (`if:`) keeps its place: what waits for it is not in the way of more.
    assert_eq!(step(&mut book, "b"), (Some("b-3".to_owned()), vec!["a".to_owned()]));
    assert_eq!(step(&mut book, "a"), (Some("a-2".to_owned()), Vec::new()));
    assert_eq!(step(&mut book, "a"), (Some("a-4".to_owned()), Vec::new()));
    assert_eq!(book.close(), Vec::<String>::new());
}

#[test]
fn an_image_that_nobody_told_of_is_expected_again_after_its_first_use() {
    let mut book = book(2, &["a"], true);
    let mut made = 0;
    fill(&mut book, &mut made);
    assert_eq!(book.take("local", &shape("local")), None);
    book.used("local");
    assert_eq!(fill(&mut book, &mut made), ["local"]);
    for _ in 0..3 {
        assert!(book.take("local", &shape("local")).is_some());
        book.used("local");
        assert_eq!(fill(&mut book, &mut made), ["local"]);
    }
    // Where only the actions are known, each may be used any number of times.
    let mut book = self::book(2, &["a", "a", "b", "c"], false);
    assert_eq!(fill(&mut book, &mut made), ["a", "b"]);
    assert!(book.take("a", &shape("a")).is_some());
    book.used("a");
    assert_eq!(fill(&mut book, &mut made), ["a"]);
}

#[test]
fn only_what_is_the_same_and_exists_is_taken_and_only_once() {
    let mut book = book(2, &["a", "a"], true);
    book.reserve("one", "a", shape("a"));
    assert_eq!(book.take("a", &shape("a")), None, "not asked for yet");
    book.asked(&["one"]);
    assert_eq!(book.take("a", &shape("other")), None);
    assert_eq!(book.take("b", &shape("a")), None);
    assert_eq!(book.take("a", &shape("a")).as_deref(), Some("one"));
    assert_eq!(book.take("a", &shape("a")), None);
}

#[test]
fn no_name_is_given_twice_and_what_never_came_to_be_is_not_in_the_way() {
    let mut book = book(1, &["a"], true);
    book.reserve("one", "a", shape("a"));
    assert_eq!(book.missing(), None, "there is room for one");
    book.forget("one");
    assert_eq!(book.missing().as_deref(), Some("a"));
    book.reserve("two", "a", shape("a"));
    let names: Vec<String> = book.names().collect();
    assert_eq!(names, ["standby", "two", "one"]);
    assert_eq!(book.close(), ["two"]);
    assert_eq!(book.missing(), None, "the job is over");
}

#[test]
fn what_may_exist_and_what_a_step_has_are_ended_with_the_job() {
    let mut book = book(2, &["a", "a", "b"], true);
    let mut made = 0;
    fill(&mut book, &mut made);
    assert_eq!(book.take("a", &shape("a")).as_deref(), Some("a-1"));
    assert_eq!(book.take("a", &shape("a")).as_deref(), Some("a-2"));
    book.used("a");
    book.used("a");
    book.settle("a-1");
    book.reserve("b-1", "b", shape("b"));
    book.doubt("b-1");
    assert_eq!(book.missing().as_deref(), Some("b"), "it takes no place");
    let names: Vec<String> = book.names().collect();
    assert_eq!(names, ["standby", "a-2", "b-1", "a-1"]);
    assert_eq!(book.close(), ["a-2", "b-1"]);
}

#[test]
fn what_is_refused_is_not_asked_for_again_and_keeps_nothing_else_out() {
    let mut book = book(1, &["a", "a", "b"], true);
    book.reserve("one", "a", shape("a"));
    book.refuse("one");
    assert_eq!(fill(&mut book, &mut 0), ["b"]);
    // What exists cannot be refused.
    book.refuse("b-1");
    book.forget("b-1");
    book.doubt("b-1");
    assert_eq!(book.close(), ["b-1"]);
}

#[test]
fn what_is_kept_is_bounded() {
    let many: Vec<String> = (0..1000).map(|n| format!("i-{n}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let counted = book(2, &many, true);
    assert_eq!(counted.expected.len(), EXPECTED_MAX);
    let mut learnt = book(2, &many, false);
    for image in many {
        learnt.used(image);
    }
    assert_eq!(learnt.learnt.len(), LEARNT_MAX);
    let mut impossible = Book::new(2, PodView::default());
    impossible.expect(uses(&["a"], true), |_| false);
    assert_eq!(impossible.missing(), None);
}
