// What a Kubernetes CronJob makes of a schedule, written down for the operator's tests.
// Not part of the operator; nothing of it is shipped. The version of robfig/cron is the one that Kubernetes 1.36 has.
module dlq-operator.dev/hack/cronjob-instants

go 1.26.0

require github.com/robfig/cron/v3 v3.0.1
