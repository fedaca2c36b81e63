-- Pauses the policy: no run starts, and the current one ends. The annotation is live; spec.suspend belongs to the manifest.
obj.metadata.annotations = obj.metadata.annotations or {}
obj.metadata.annotations["dlq-operator.dev/paused"] = "Argo CD"
return obj
