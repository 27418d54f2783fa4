//! What is tried again, and after how long.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;

use crate::wire::Complaint;

/// The longest wait that we choose ourselves.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// Waiting, the time of day and chance: what makes retries slow and uneven, and tests quick and even.
#[async_trait]
pub trait Pace: Send + Sync {
    /// Unix milliseconds.
    fn now_ms(&self) -> u64;
    /// Lets this much time pass.
    async fn wait(&self, duration: Duration);
    /// A number in `0.0..=1.0`, every one as likely.
    fn chance(&self) -> f64;
}

/// The system's clock and random numbers.
#[derive(Debug, Clone, Copy)]
pub struct SystemPace;

#[async_trait]
impl Pace for SystemPace {
    fn now_ms(&self) -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }

    async fn wait(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }

    fn chance(&self) -> f64 {
        // Without random numbers the longest wait is the kindest one.
        getrandom::u32().map_or(1.0, |number| f64::from(number) / f64::from(u32::MAX))
    }
}

/// What a bad status means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The same call may work later.
    Later,
    /// It would fail again.
    Never,
}

/// Judges a status that is not 2xx.
pub(crate) fn verdict(status: u16, complaint: &Complaint) -> Verdict {
    match status {
        429 if complaint.is_spent() => Verdict::Never,
        408 | 425 | 429 | 500..=599 => Verdict::Later,
        _ => Verdict::Never,
    }
}

/// The wait before the next try, after `n_failed` tries (from 1): full jitter, on top of what the server asks for, so that
/// workers that were sent away together do not come back together.
pub(crate) fn wait(n_failed: u32, retry_after: Option<&str>, pace: &dyn Pace) -> Duration {
    let doubled = 1u64.checked_shl(n_failed.saturating_sub(1)).unwrap_or(u64::MAX);
    let ceiling = Duration::from_secs(doubled).min(LONGEST_WAIT);
    let floor = retry_after.and_then(|text| asked_wait(text, pace.now_ms())).unwrap_or_default();
    floor.saturating_add(ceiling.mul_f64(pace.chance().clamp(0.0, 1.0)))
}

/// Reads `Retry-After`: seconds, or a date.
fn asked_wait(text: &str, now_ms: u64) -> Option<Duration> {
    let text = text.trim();
    if let Ok(seconds) = text.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    let until_ms = http_date(text)?.checked_mul(1_000)?;
    Some(Duration::from_millis(until_ms.saturating_sub(now_ms)))
}

/// Unix seconds of `Sun, 06 Nov 1994 08:49:37 GMT`, the one form that RFC 9110 §5.6.7 lets servers send.
fn http_date(text: &str) -> Option<u64> {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (_, date) = text.split_once(", ")?;
    let mut words = date.strip_suffix(" GMT")?.split(' ');
    let day: u64 = words.next()?.parse().ok().filter(|day| (1..=31).contains(day))?;
    let name = words.next()?;
    let month_idx = MONTHS.iter().position(|month| *month == name)? as u64;
    let year: u64 = words.next()?.parse().ok().filter(|year| (1970..=9999).contains(year))?;
    let mut clock = words.next()?.split(':').map(|part| part.parse::<u64>().ok().filter(|part| *part <= 60));
    let (hours, minutes, seconds) = (clock.next()??, clock.next()??, clock.next()??);

    // Days since 1970-01-01: years begin in March, so that the leap day is the last one of its year.
    let (year, month) = if month_idx < 2 { (year - 1, month_idx + 10) } else { (year, month_idx - 2) };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day - 1;
    let days = days.checked_sub(719_468)?;
    Some(((days * 24 + hours) * 60 + minutes) * 60 + seconds)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_header_panics(text in "[A-Za-z]{3}, [0-9]{1,3} (Jan|Feb|Dec|x) [0-9]{1,5} [0-9:]{0,9} GMT|[-0-9.eE]{0,30}|.{0,20}", n in any::<u32>()) {
            wait(n, Some(&text), &Fixed(1.0));
        }
    }

    struct Fixed(f64);

    #[async_trait]
    impl Pace for Fixed {
        fn now_ms(&self) -> u64 {
            784_111_770_000
        }
        async fn wait(&self, _: Duration) {}
        fn chance(&self) -> f64 {
            self.0
        }
    }

    #[test]
    fn statuses_are_judged_by_the_table() {
        let plain = Complaint::default();
        for status in [408, 425, 429, 500, 502, 503, 504, 529, 599] {
            assert_eq!(verdict(status, &plain), Verdict::Later, "{status}");
        }
        for status in [301, 400, 401, 402, 403, 404, 409, 413, 422, 600] {
            assert_eq!(verdict(status, &plain), Verdict::Never, "{status}");
        }
        for (codes, expect) in [
            ("insufficient_quota", Verdict::Never),
            ("billing_hard_limit_reached", Verdict::Never),
            ("monthly_spend_limit", Verdict::Never),
            ("rate_limit_exceeded", Verdict::Later),
        ] {
            let complaint = Complaint { message: "quota".to_owned(), codes: codes.to_owned() };
            assert_eq!(verdict(429, &complaint), expect, "{codes}");
        }
    }

    #[test]
    fn waits_double_to_a_cap_and_stand_on_what_the_server_asks() {
        for (n_failed, retry_after, chance, expect_ms) in [
            (1, None, 1.0, 1_000),
            (1, None, 0.0, 0),
            (4, None, 0.5, 4_000),
            (7, None, 1.0, 60_000),
            (200, None, 1.0, 60_000),
            (1, Some("7"), 0.0, 7_000),
            (1, Some("1.5"), 1.0, 2_500),
            (1, Some("Sun, 06 Nov 1994 08:49:37 GMT"), 0.0, 7_000),
            (1, Some("Sun, 06 Nov 1994 08:49:00 GMT"), 0.0, 0),
            (1, Some("soon"), 1.0, 1_000),
            (1, Some("-3"), 1.0, 1_000),
            (1, Some("NaN"), 1.0, 1_000),
        ] {
            let found = wait(n_failed, retry_after, &Fixed(chance));
            assert_eq!(found, Duration::from_millis(expect_ms), "{n_failed} {retry_after:?} {chance}");
        }
    }

    #[test]
    fn dates_are_read_or_not() {
        for (text, expect) in [
            ("Thu, 01 Jan 1970 00:00:00 GMT", Some(0)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(784_111_777)),
            ("Thu, 29 Feb 2024 12:00:00 GMT", Some(1_709_208_000)),
            ("Tue, 31 Dec 2999 23:59:59 GMT", Some(32_503_679_999)),
            ("Sun, 06 Nov 1994 08:49 GMT", None),
            ("Sun, 06 Foo 1994 08:49:37 GMT", None),
            ("Sun, 06 Nov 1994 08:49:37 CET", None),
            ("06 Nov 1994", None),
        ] {
            assert_eq!(http_date(text), expect, "{text}");
        }
    }
}
