//! Names beside points, placed where they hide as little as can be.

/// A name to write beside a point of the drawing.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Label {
    pub(super) x: i32,
    pub(super) y: i32,
    pub(super) name: String,
}

/// A rectangle of the drawing: left, top, right, bottom.
type Area = [i32; 4];

const HEIGHT: i32 = 32;
/// Between a point and its name.
const GAP: i32 = 18;

/// The left end and the middle height of each name: right of its point, left, above, below or at a slant, wherever the least
/// of it lies on the names before it, on `taken` points or outside `frame`. `letter` is the width of a letter.
pub(super) fn place(labels: &[Label], taken: &[(i32, i32)], frame: Area, letter: i32) -> Vec<(i32, i32)> {
    let around = |&(x, y): &(i32, i32)| [x - 10, y - 10, x + 10, y + 10];
    let points: Vec<Area> = taken.iter().map(around).collect();
    let mut written: Vec<Area> = Vec::new();
    let mut places = Vec::new();
    for Label { x, y, name } in labels {
        let width = letter * name.chars().count() as i32;
        let (right, left, middle) = (x + GAP, x - GAP - width, x - width / 2);
        // In its own line, then one and two lines away.
        let next_to = [(right, *y), (left, *y)];
        let away = [1, 2].into_iter().flat_map(|lines| {
            let (above, below) = (y - lines * HEIGHT, y + lines * HEIGHT);
            [(middle, above), (middle, below), (right, above), (right, below), (left, above), (left, below)]
        });
        let spots = next_to.into_iter().chain(away);
        let area = |(left, y): (i32, i32)| [left, y - HEIGHT / 2, left + width, y + HEIGHT / 2];
        let hidden = |&spot: &(i32, i32)| {
            let area = area(spot);
            let inside = overlap(area, frame);
            let outside = i64::from(width) * i64::from(HEIGHT) - inside;
            let hidden = |areas: &[Area]| areas.iter().map(|other| overlap(area, *other)).sum::<i64>();
            // Names on names cannot be read, names cut off hardly.
            hidden(&points) + 4 * (hidden(&written) + outside)
        };
        // The first of equals.
        let best = spots.min_by_key(hidden).unwrap_or((right, *y));
        written.push(area(best));
        places.push(best);
    }
    places
}

fn overlap([left, top, right, bottom]: Area, other: Area) -> i64 {
    let width = right.min(other[2]) - left.max(other[0]);
    let height = bottom.min(other[3]) - top.max(other[1]);
    i64::from(width.max(0)) * i64::from(height.max(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_keep_out_of_each_other_s_way_and_inside_the_frame() {
        const FRAME: Area = [0, 0, 1_000, 600];
        type Case<'a> = (&'a [(i32, i32, &'a str)], &'a [(i32, i32)], &'a [(i32, i32)]);
        let cases: [Case<'_>; 5] = [
            (&[], &[], &[]),
            // Right of its point.
            (&[(100, 100, "gbdt")], &[], &[(118, 100)]),
            // Left of it, where the frame ends.
            (&[(990, 100, "gbdt")], &[], &[(912, 100)]),
            // Another point stands on the right.
            (&[(400, 100, "gbdt")], &[(430, 100)], &[(322, 100)]),
            // Two names of one point: the left has no room for the second.
            (&[(100, 100, "gbdt"), (100, 100, "router")], &[], &[(118, 100), (55, 68)]),
        ];
        for (labels, taken, expected) in cases {
            let label = |&(x, y, name): &(i32, i32, &str)| Label { x, y, name: name.to_owned() };
            let labels: Vec<Label> = labels.iter().map(label).collect();
            assert_eq!(place(&labels, taken, FRAME, 15), expected, "{labels:?}");
        }
    }

    #[test]
    fn a_name_longer_than_the_frame_is_still_placed() {
        let label = Label { x: 500, y: 300, name: "n".repeat(200) };
        assert_eq!(place(&[label], &[], [0, 0, 1_000, 600], 15).len(), 1);
    }
}
