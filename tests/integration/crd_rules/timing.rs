//! When a policy runs.

use serde_json::{Value, json};

use super::{Row, accepted, rejected, spec, text};

const A_DURATION: &str = "the value must be a duration such as 30s or 1h30m";

pub(super) fn rows() -> Vec<Row> {
    [schedules(), triggers(), zones(), needs(), jitters(), deadlines()].into_iter().flatten().collect()
}

fn schedules() -> Vec<Row> {
    let schedule = |schedule: &str| spec(json!({ "schedule": schedule }));
    let no_zone = "the schedule must hold no TZ= or CRON_TZ=; use timeZone";
    vec![
        accepted("a schedule of five fields", schedule("*/15 8-17 * * MON-FRI")),
        accepted("a schedule that is a macro", schedule("@hourly")),
        accepted("a schedule that is an interval", schedule("@every 15m")),
        accepted("a schedule that only the operator can judge", schedule("at tea time")),
        accepted("a schedule of 100 characters", schedule(&text(100))),
        rejected(
            "a schedule has at most 100 characters",
            schedule(&text(101)),
            "spec.schedule",
            "may not be more than 100",
        ),
        rejected(
            "a schedule is not empty: leave it out to run once",
            schedule(""),
            "spec.schedule",
            "at least 1 chars long",
        ),
        rejected(
            "a zone stands in timeZone, not in the schedule",
            schedule("TZ=Europe/Berlin 0 3 * * *"),
            "spec.schedule",
            no_zone,
        ),
        rejected(
            "a zone stands in timeZone, however cron spells it",
            schedule("CRON_TZ=Europe/Berlin 0 3 * * *"),
            "spec.schedule",
            no_zone,
        ),
        rejected(
            "a schedule is a string",
            spec(json!({ "schedule": 5 })),
            "spec.schedule",
            r#"must be of type string: "integer""#,
        ),
    ]
}

fn triggers() -> Vec<Row> {
    let trigger = |trigger: Value| spec(json!({ "trigger": trigger }));
    vec![
        accepted("a policy that runs when it is asked to", trigger(json!("Manual"))),
        accepted(
            "a policy that says explicitly that it runs when its spec is new",
            trigger(json!("OnChange")),
        ),
        rejected("a trigger that nobody knows", trigger(json!("Never")), "spec.trigger", "supported values"),
        rejected(
            "a schedule is a trigger of its own",
            spec(json!({ "trigger": "Manual", "schedule": "@daily" })),
            "spec.trigger",
            "trigger must not be set with a schedule; remove trigger, or remove schedule",
        ),
        rejected(
            "a schedule is a trigger of its own, whatever else is said",
            spec(json!({ "trigger": "OnChange", "schedule": "@daily" })),
            "spec.trigger",
            "trigger must not be set with a schedule",
        ),
    ]
}

fn zones() -> Vec<Row> {
    let zone = |zone: &str| spec(json!({ "schedule": "@daily", "timeZone": zone }));
    let message = "the value must be an IANA name such as Europe/Berlin";
    vec![
        accepted("a zone with two slashes", zone("America/Argentina/Buenos_Aires")),
        accepted("a zone with a sign", zone("Etc/GMT+5")),
        accepted("a zone that only the operator can judge", zone("Middle-earth/Shire")),
        accepted("a zone of 64 characters", zone(&text(64))),
        rejected(
            "a zone has at most 64 characters",
            zone(&text(65)),
            "spec.timeZone",
            "may not be more than 64",
        ),
        rejected(
            "a zone is not empty: leave it out for UTC",
            zone(""),
            "spec.timeZone",
            "at least 1 chars long",
        ),
        rejected("a zone is not an offset", zone("+02:00"), "spec.timeZone", message),
        rejected(
            "a zone is not a path out of the zones' folder",
            zone("../etc/passwd"),
            "spec.timeZone",
            message,
        ),
        rejected("a zone has no spaces", zone("Europe/ Berlin"), "spec.timeZone", message),
    ]
}

fn needs() -> Vec<Row> {
    vec![
        rejected(
            "a zone needs a schedule",
            spec(json!({ "timeZone": "Europe/Berlin" })),
            "spec.timeZone",
            "timeZone must come with a schedule; add schedule, or remove timeZone",
        ),
        rejected(
            "jitter needs a schedule",
            spec(json!({ "jitter": "30s" })),
            "spec.jitter",
            "jitter must come with a schedule; add schedule, or remove jitter",
        ),
        rejected(
            "a starting deadline needs a schedule",
            spec(json!({ "startingDeadlineSeconds": 300 })),
            "spec.startingDeadlineSeconds",
            "startingDeadlineSeconds must come with a schedule; add schedule, or remove startingDeadlineSeconds",
        ),
        rejected(
            "a concurrency policy needs a schedule",
            spec(json!({ "concurrencyPolicy": "Forbid" })),
            "spec.concurrencyPolicy",
            "concurrencyPolicy must come with a schedule; add schedule, or remove concurrencyPolicy",
        ),
        rejected(
            "a null schedule is none",
            spec(json!({ "schedule": null, "timeZone": "Europe/Berlin" })),
            "spec.timeZone",
            "timeZone must come with a schedule",
        ),
        accepted(
            "a run may be replaced",
            spec(json!({ "schedule": "@hourly", "concurrencyPolicy": "Replace" })),
        ),
        rejected(
            "runs never overlap",
            spec(json!({ "schedule": "@hourly", "concurrencyPolicy": "Allow" })),
            "spec.concurrencyPolicy",
            r#"supported values: "Forbid", "Replace""#,
        ),
    ]
}

fn jitters() -> Vec<Row> {
    let jitter = |jitter: &str| spec(json!({ "schedule": "@hourly", "jitter": jitter }));
    vec![
        accepted("jitter may be zero", jitter("0s")),
        accepted("jitter in every unit, with all digits", jitter("9999d999999h999999m999999s999999ms")),
        rejected("jitter is not empty", jitter(""), "spec.jitter", A_DURATION),
        rejected("jitter has a unit", jitter("30"), "spec.jitter", A_DURATION),
        rejected(
            "jitter has its units in order",
            jitter("30s1m"),
            "spec.jitter",
            "d, h, m, s, ms in this order",
        ),
        rejected("jitter is not negative", jitter("-30s"), "spec.jitter", A_DURATION),
        rejected(
            "jitter has at most 6 digits of seconds",
            jitter("1000000s"),
            "spec.jitter",
            "at most 4 digits of d and 6 of each other",
        ),
        rejected(
            "jitter has at most 36 characters",
            jitter(&text(37)),
            "spec.jitter",
            "may not be more than 36",
        ),
    ]
}

fn deadlines() -> Vec<Row> {
    let deadline =
        |seconds: Value| spec(json!({ "schedule": "@hourly", "startingDeadlineSeconds": seconds }));
    let at = "spec.startingDeadlineSeconds";
    vec![
        accepted("a starting deadline of no time at all", deadline(json!(0))),
        accepted("the latest starting deadline", deadline(json!(2_147_483_647))),
        rejected(
            "a starting deadline is not negative",
            deadline(json!(-1)),
            at,
            "greater than or equal to 0",
        ),
        rejected(
            "a starting deadline fits into 32 bits",
            deadline(json!(2_147_483_648_u64)),
            at,
            "less than or equal to 2147483647",
        ),
        rejected(
            "a starting deadline is a number of seconds",
            deadline(json!("5m")),
            at,
            r#"must be of type integer: "string""#,
        ),
    ]
}
