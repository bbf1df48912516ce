//! Makes a query that shows a difference smaller.

use crate::{
    Result,
    generate::Question,
    report::{Difference, Verdict},
    run::{Pair, REPEATS, judge},
    subject::When,
};

/// How many smaller queries are tried for a difference.
const SHRINKS: usize = 400;

/// Makes a question smaller as long as the answers differ. `None` if they do no more.
pub(crate) fn shrink(
    pair: &mut Pair<'_>,
    index: u64,
    question: Question,
) -> Result<Option<Difference>> {
    let original = question.node.to_string();
    let mut best = question;
    let mut tries = 0;
    let differs = |pair: &mut Pair<'_>, question: &Question| -> Result<bool> {
        Ok(matches!(judge(pair, question, 1)?.0, Verdict::Different(_))
            && matches!(judge(pair, question, REPEATS)?.0, Verdict::Different(_)))
    };
    'again: loop {
        let times = smaller_times(best.when).into_iter();
        let times = times.map(|when| Question { node: best.node.clone(), when });
        let nodes = best.node.smaller().into_iter();
        let nodes = nodes.map(|node| Question { node, when: best.when });
        for candidate in nodes.chain(times).collect::<Vec<_>>() {
            tries += 1;
            if tries > SHRINKS {
                break 'again;
            }
            if differs(pair, &candidate)? {
                best = candidate;
                continue 'again;
            }
        }
        break;
    }
    let query = best.node.to_string();
    let theirs = pair.0.ask(&query, best.when)?;
    let ours = pair.1.ask(&query, best.when)?;
    let Verdict::Different(what) = judge(pair, &best, REPEATS)?.0 else { return Ok(None) };
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    let (theirs, ours) = (text(theirs), text(ours));
    Ok(Some(Difference { index, original, query, when: best.when, what, theirs, ours }))
}

/// Fewer steps: the first, the last, either half.
fn smaller_times(when: When) -> Vec<When> {
    let When::Range { start, end, step } = when else { return Vec::new() };
    let steps = (end - start) / step;
    let last = start + steps * step;
    let mut all = vec![When::Instant(start), When::Instant(last)];
    if steps > 0 {
        all.push(When::Range { start, end: start + steps / 2 * step, step });
        all.push(When::Range { start: start + (steps / 2 + 1) * step, end, step });
        all.push(When::Range { start: start + step, end, step });
        all.push(When::Range { start, end: last - step, step });
    }
    all
}
