-- Unpauses a policy that the annotation pauses.
obj.metadata.annotations = obj.metadata.annotations or {}
obj.metadata.annotations["dlq-operator.dev/paused"] = "false"
return obj
