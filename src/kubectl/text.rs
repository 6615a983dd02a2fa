//! Texts of values. All text that comes from jobs goes through `visible`.

use ephemon_base::visible;
use ephemon_client::Ending;

/// A text of a job on one line.
pub(crate) fn name(text: &str) -> String {
    visible(text).replace('\t', " ")
}

/// A duration: `0.42s`, `12.3s`, `3m07s`, `2h05m`.
pub(crate) fn duration(ms: u64) -> String {
    let (seconds, hundredths) = (ms / 1000, ms % 1000 / 10);
    match seconds {
        0..10 => format!("{seconds}.{hundredths:02}s"),
        10..60 => format!("{seconds}.{}s", hundredths / 10),
        60..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        _ => format!("{}h{:02}m", seconds / 3600, seconds % 3600 / 60),
    }
}

/// How long ago something was: `34s`, `12m`, `2h05m`.
pub(crate) fn age(ms: u64) -> String {
    match ms / 1000 {
        seconds @ 0..60 => format!("{seconds}s"),
        seconds @ 60..3600 => format!("{}m", seconds / 60),
        seconds => format!("{}h{:02}m", seconds / 3600, seconds % 3600 / 60),
    }
}

/// CPU time.
pub(crate) fn cpu_time(seconds: f64) -> String {
    // Texts of an agent: the cast has a bound, and what is not a number is 0.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a float's cast saturates"
    )]
    let ms = (seconds.max(0.0) * 1000.0) as u64;
    duration(ms)
}

/// Bytes as Kubernetes writes them: `12.3Mi`.
pub(crate) fn bytes(count: u64) -> String {
    let mut value = count as f64;
    for unit in ["", "Ki", "Mi"] {
        if value < 1024.0 {
            let digits = usize::from(value < 100.0 && !unit.is_empty());
            return format!("{value:.digits$}{unit}");
        }
        value /= 1024.0;
    }
    format!("{value:.1}Gi")
}

/// Thousandths of a CPU as Kubernetes writes them: `250m`.
pub(crate) fn cpus(millis: u64) -> String {
    format!("{millis}m")
}

/// A share of a whole, in percent.
pub(crate) fn percent(part: u64, whole: u64) -> Option<u64> {
    part.saturating_mul(100).checked_div(whole)
}

/// The value, or what stands for one that is not known.
pub(crate) fn known<T>(value: Option<T>, text: impl FnOnce(T) -> String) -> String {
    value.map_or_else(|| "-".into(), text)
}

/// The sign and the word of a result, with what is known of it.
pub(crate) fn result(ending: &Ending) -> String {
    let (sign, word) = match &*ending.result {
        "running" => ("▶", "running"),
        "ending" => ("…", "ended"),
        "success" => ("✓", "success"),
        "failure" => ("✕", "failure"),
        "error" => ("!", "error"),
        "timeout" => ("!", "timeout"),
        "cancellation" => ("⊘", "cancelled"),
        "skip" => ("–", "skipped"),
        "unknown" | "" => ("?", "not known"),
        other => ("?", other),
    };
    let mut text = format!("{sign} {}", name(word));
    if let Some(fault) = ending.fault.as_deref().filter(|fault| *fault != "exit_code") {
        text = format!("{text}, {}", name(fault));
    }
    match ending.exit_code {
        Some(code) if code != 0 => format!("{text}, exit code {code}"),
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_short_and_have_units() {
        let durations = [0, 420, 9_999, 12_340, 59_999, 187_000, 7_500_000].map(duration);
        assert_eq!(durations, ["0.00s", "0.42s", "9.99s", "12.3s", "59.9s", "3m07s", "2h05m"]);
        assert_eq!([999, 61_000, 7_500_000].map(age), ["0s", "1m", "2h05m"]);
        let sizes = [0, 1000, 1536, 12_897_485, 230 << 20, 5 << 30].map(bytes);
        assert_eq!(sizes, ["0", "1000", "1.5Ki", "12.3Mi", "230Mi", "5.0Gi"]);
        assert_eq!([1.5, -1.0, f64::NAN].map(cpu_time), ["1.50s", "0.00s", "0.00s"]);
        assert_eq!((percent(1, 3), percent(1, 0)), (Some(33), None));
    }

    #[test]
    fn a_result_says_how_it_failed() {
        let text = |result: &str, fault: Option<&str>, code| {
            let fault = fault.map(str::to_owned);
            super::result(&Ending { result: result.into(), fault, exit_code: code })
        };
        assert_eq!(text("success", None, Some(0)), "✓ success");
        assert_eq!(text("failure", Some("exit_code"), Some(3)), "✕ failure, exit code 3");
        assert_eq!(
            text("error", Some("oom_killed"), Some(137)),
            "! error, oom_killed, exit code 137"
        );
        assert_eq!(text("\u{1b}[2J", None, None), "? ␛[2J");
    }
}
