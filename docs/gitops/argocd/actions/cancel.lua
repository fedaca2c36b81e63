-- Ends the current run.
obj.metadata.annotations = obj.metadata.annotations or {}
obj.metadata.annotations["dlq-operator.dev/cancelAt"] = os.date("!%Y-%m-%dT%H:%M:%SZ")
return obj
