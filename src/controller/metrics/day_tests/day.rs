//! The day: five policies, one of which shares a connection, and two replicas. Upstash is down from 09:20 to 10:10, somebody asks for a trial at 10:50, both
//! replicas are replaced from 11:58 to 12:03, Upstash throttles from 14:00 to 15:00, and the API server is slow from 18:00 to
//! 18:40.

use std::sync::Arc;

use fastrand::Rng;
use jiff::{SignedDuration, Timestamp};
use kube::runtime::reflector::{self, store::Writer};
use kube::runtime::watcher::Event;
use serde_json::json;

use super::clock;
use super::connection::{self, DayConnection};
use super::object::Object;
use super::process::Process;
use crate::controller::watched::policy::WatchedPolicy;

/// Scrapes are off the full minute, so that none lies on the edge of a range: versions of Prometheus differ in which edges
/// belong to it.
const SCRAPE_OFFSET: SignedDuration = SignedDuration::from_secs(7);

struct Day {
    dice: Rng,
    objects: Vec<Object>,
    /// The leader, and a standby; none while they are replaced.
    replicas: Vec<Process>,
    watch: Writer<WatchedPolicy>,
    connection: Arc<DayConnection>,
}

impl Day {
    fn begin() -> Self {
        clock::set(clock::at(0, 0));
        let connection = Arc::new(DayConnection::new());
        let objects = vec![
            Object::new(
                "payments",
                "resume-payments",
                240,
                json!({
                    "action": "resume", "schedule": "*/15 * * * *", "limits": { "entriesPerSecond": 1 },
                    "backlog": { "interval": "10m", "retention": "3d" },
                }),
            ),
            Object::new(
                "payments",
                "restart-checkout",
                600,
                json!({
                    "action": "restart", "schedule": "@hourly", "limits": { "entriesPerSecond": 2 },
                    "loopProtection": { "maxAttempts": 3 },
                }),
            ),
            Object::new(
                "shop",
                "resume-orders",
                300,
                json!({
                    "action": "resume", "schedule": "*/3 * * * *", "startingDeadlineSeconds": 60,
                    "limits": { "entriesPerSecond": 2 }, "failurePolicy": { "openCircuitAfter": 6 },
                }),
            ),
            Object::new(
                "shop",
                "delete-old",
                2_000,
                json!({
                    "action": "delete", "schedule": "0 3 * * *", "limits": { "entriesPerSecond": 5 },
                    "backlog": { "interval": "15m", "retention": "3d" },
                    "connection": { "name": connection::NAME },
                }),
            )
            .with(Arc::clone(&connection)),
        ];
        let (dice, watch) = (Rng::with_seed(7), reflector::store().1);
        let mut day = Self { dice, objects, replicas: Vec::new(), watch, connection };
        day.start(0, "0.1.0");
        day
    }

    fn start(&mut self, first: usize, version: &'static str) {
        let (store, watch) = reflector::store();
        self.watch = watch;
        self.tell();
        self.connection.hand_over();
        let start = |(number, leads)| {
            let connections = Arc::clone(&self.connection.known);
            Process::new(first + number, version, leads, store.clone(), connections)
        };
        self.replicas = [true, false].into_iter().enumerate().map(start).collect();
        for object in &mut self.objects {
            object.wake = clock::now();
        }
    }

    fn stop(&mut self) {
        if let Some(leader) = self.replicas.first() {
            self.objects.iter_mut().for_each(|object| object.hand_back(leader, &mut self.dice));
        }
        self.replicas.clear();
    }

    /// The watch tells how all policies are.
    fn tell(&mut self) {
        self.watch.apply_watcher_event(&Event::Init);
        for object in &self.objects {
            let watched = serde_json::from_value(object.json()).unwrap();
            self.watch.apply_watcher_event(&Event::InitApply(watched));
        }
        self.watch.apply_watcher_event(&Event::InitDone);
    }

    /// The leader does what is to be done before a time.
    fn work(&mut self, until: Timestamp) {
        if let Some(leader) = self.replicas.first() {
            while let Some(object) = self.objects.iter_mut().min_by_key(|object| object.wake)
                && object.wake < until
            {
                object.look(leader, &mut self.dice);
            }
        }
        clock::set(until);
    }

    fn happen(&mut self, minute: i64) {
        let now = clock::now();
        let is = |hour, minute| now == clock::at(hour, minute);
        if is(7, 0) {
            let spec = json!({ "action": "resume", "limits": { "entriesPerSecond": 5 } });
            self.objects.push(Object::new("ops", "resume-once", 3_000, spec));
        } else if is(10, 50) {
            let orders = self.objects.iter_mut().find(|object| object.is("resume-orders"));
            orders.unwrap().request(&minute.to_string());
        } else if is(11, 58) {
            self.stop();
        } else if is(12, 3) {
            self.start(2, "0.2.0");
        }
    }
}

/// Every sample of the day in the text format of OpenMetrics, two hours in each text, the same each time.
pub(super) fn samples() -> Vec<String> {
    let mut day = Day::begin();
    let parts = (0..24 * 60).step_by(120).map(|first| {
        let mut text = String::new();
        for minute in first..first + 120 {
            let time = clock::at(0, minute);
            day.work(time);
            day.happen(minute);
            day.work(time + SCRAPE_OFFSET);
            day.tell();
            for replica in &mut day.replicas {
                replica.scrape(&mut day.dice, &mut text);
            }
        }
        text + "# EOF\n"
    });
    parts.collect()
}
