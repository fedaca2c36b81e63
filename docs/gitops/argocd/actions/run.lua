-- Starts a run now.
obj.metadata.annotations = obj.metadata.annotations or {}
obj.metadata.annotations["dlq-operator.dev/requestedAt"] = os.date("!%Y-%m-%dT%H:%M:%SZ")
obj.metadata.annotations["dlq-operator.dev/requestedBy"] = "Argo CD"
obj.metadata.annotations["dlq-operator.dev/requestReason"] = nil
-- A dry run that was asked for before left it behind.
obj.metadata.annotations["dlq-operator.dev/requestedMode"] = nil
return obj
