-- Closes the circuit after too many failed runs in a row.
obj.metadata.annotations = obj.metadata.annotations or {}
obj.metadata.annotations["dlq-operator.dev/resetAt"] = os.date("!%Y-%m-%dT%H:%M:%SZ")
return obj
