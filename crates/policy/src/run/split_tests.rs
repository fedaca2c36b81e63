use proptest::prelude::*;

use super::*;
use dlq_upstash::types::DlqId;

const START: i64 = 1_763_640_000_000;
const HOUR: i64 = 3_600_000;

/// A list's first page: when its entries failed, in its order.
fn page(times: &[i64]) -> Page {
    let entry = |time: &i64| ListedEntry::bare(DlqId(format!("{time}-0")));
    Page { entries: times.len() as u64, listed: times.iter().map(entry).collect(), ..Page::default() }
}

fn span(from: i64, to: i64) -> Span {
    Span { from, to }
}

/// Parts that share no time, and leave none of the span out.
fn assert_covered(whole: Span, parts: &[Part]) {
    let mut spans: Vec<_> = parts.iter().map(|part| part.span).collect();
    spans.sort_by_key(|span| span.from);
    assert!(spans.iter().all(|span| span.from <= span.to), "{spans:?}");
    assert_eq!((spans.first().unwrap().from, spans.last().unwrap().to), (whole.from, whole.to), "{spans:?}");
    assert!(spans.windows(2).all(|pair| pair[0].to + 1 == pair[1].from), "{spans:?}");
}

#[test]
fn a_page_shows_nothing_of_times_that_cannot_be_read_or_lie_elsewhere() {
    let whole = span(START - HOUR, START);
    assert!(Glimpse::of(&page(&[START - 5, START - 3]), whole).is_some());
    assert_eq!(Glimpse::of(&page(&[]), whole), None);
    assert_eq!(Glimpse::of(&page(&[START - 2 * HOUR, START - 3]), whole), None);
    let named = Page { listed: vec![ListedEntry::bare(DlqId("dlq-1".to_owned()))], ..page(&[]) };
    assert_eq!(Glimpse::of(&named, whole), None);
}

#[test]
fn entries_that_are_close_together_at_one_end_are_cut_closely_there() {
    let whole = span(0, START);
    let newest_first: Vec<_> = (0..100).map(|number| START - 1000 - number * 10).collect();
    let glimpse = Glimpse::of(&page(&newest_first), whole).unwrap();
    let parts = by_glimpse(whole, glimpse, 8, START);
    assert_covered(whole, &parts);
    assert_eq!(parts[0].span, span(START - 1990, START));
    assert!(
        parts
            .windows(2)
            .all(|pair| pair[1].span.to - pair[1].span.from > pair[0].span.to - pair[0].span.from)
    );
    let oldest = parts.last().unwrap();
    assert_eq!((oldest.span.from, oldest.entries), (0, None), "what is older than ninety days is one part");
}

#[test]
fn few_pages_are_cut_equally_and_closer_near_the_start() {
    let whole = span(START - 10 * HOUR, START);
    let oldest_first: Vec<_> = (0..100).map(|number| START - 10 * HOUR + number * HOUR / 100).collect();
    let glimpse = Glimpse::of(&page(&oldest_first), whole).unwrap();
    let parts = by_glimpse(whole, glimpse, 8, START);
    assert_covered(whole, &parts);
    let lengths: Vec<_> = parts.iter().map(|part| part.span.to - part.span.from).collect();
    assert!(lengths[..4].iter().all(|length| (length - lengths[0]).abs() < 5), "{lengths:?}");
    assert!(lengths[4..].is_sorted_by(|one, next| one > next), "{lengths:?}");
    assert!((glimpse.entries_in(whole) - 1010.0).abs() < 5.0, "{}", glimpse.entries_in(whole));
}

#[test]
fn a_span_of_unknown_content_is_halved_towards_the_side_that_is_drained_last() {
    let halves = |order| -> Vec<_> {
        by_halves(span(0, 1023), 4, order).iter().map(|part| (part.span.from, part.span.to)).collect()
    };
    assert_eq!(halves(Order::OldestFirst), [(0, 511), (512, 767), (768, 895), (896, 1023)]);
    assert_eq!(halves(Order::NewestFirst), [(512, 1023), (256, 511), (128, 255), (0, 127)]);
    assert_eq!(by_halves(span(7, 7), 4, Order::OldestFirst).len(), 1, "one millisecond cannot be cut");
}

#[test]
fn a_part_at_the_beginning_has_a_lower_bound_only_if_the_window_has() {
    let window = |from: Option<i64>| -> Window {
        let time = |millis| MilliTime::new(Timestamp::from_millisecond(millis).unwrap());
        Window { from_date: from.map(time), to_date: time(START) }
    };
    let parts = equally(Span::of(&window(None)), 100.0, 2);
    assert_eq!(parts[0].span.within(&window(None)).from_date, None);
    assert!(parts[1].span.within(&window(None)).from_date.is_some());
    let bounded = window(Some(START - HOUR));
    assert_eq!(equally(Span::of(&bounded), 100.0, 2)[0].span.within(&bounded).from_date, bounded.from_date);
}

proptest! {
    #[test]
    fn parts_share_no_time_and_leave_none_out(
        length in 1_i64..200 * 24 * HOUR,
        first in 0_i64..1000,
        reach in 0_i64..1000,
        entries in 1_i64..100,
        most in 2_usize..33,
        newest_first in any::<bool>(),
    ) {
        let whole = span(START - length, START);
        let place = |share: i64| START - length + length / 1000 * share;
        let (one, other) = (place(first), place((first + reach).min(999)));
        let ends = if newest_first { [other, one] } else { [one, other] };
        let shown: Vec<_> = ends.iter().copied().cycle().take(usize::try_from(entries).unwrap()).collect();
        let shown = [&ends[..1], &shown, &ends[1..]].concat();
        let glimpse = Glimpse::of(&page(&shown), whole).unwrap();
        for start in [START, START + 1] {
            let parts = by_glimpse(whole, glimpse, most, start);
            prop_assert!(parts.len() <= most);
            assert_covered(whole, &parts);
        }
        assert_covered(whole, &equally(whole, 1000.0, most));
        assert_covered(whole, &by_halves(whole, most, glimpse.order()));
    }
}
