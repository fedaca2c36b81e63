-- What Argo CD says of a DlqPolicy, a DlqConnection and a ClusterDlqConnection. Put it into the ConfigMap argocd-cm, under the key
-- resource.customizations.health.dlq-operator.dev_DlqPolicy, and under those of the other two.
--
-- It says what kstatus says, which Flux and Helm ask: a policy is healthy when it is accepted and able to run, be it idle,
-- running, suspended or paused; a connection is healthy when its token works. How the last run of a policy went is in the condition
-- LastRunSucceeded, and turns nothing red. An open circuit is ready to kstatus, so that it fails no deploy, and degraded here, where
-- people look. So is a run that waits for an approval: suspended here, as other things that wait for a person.

local status = obj.status or {}
if (status.observedGeneration or -1) < 0 then
  return { status = "Progressing", message = "the operator has not seen it yet" }
end
if status.observedGeneration ~= obj.metadata.generation then
  return { status = "Progressing", message = "the operator has not seen the last edit yet" }
end

local conditions = {}
for _, condition in ipairs(status.conditions or {}) do
  conditions[condition.type] = condition
end
local function is_true(type)
  return conditions[type] ~= nil and conditions[type].status == "True"
end
local function say(health, type)
  return { status = health, message = conditions[type].reason .. ": " .. conditions[type].message }
end

-- Also during a trial, when the phase says that a run is in progress.
if status.phase == "CircuitOpen" or (conditions.Ready ~= nil and conditions.Ready.reason == "CircuitOpen") then
  return { status = "Degraded", message = "CircuitOpen: " .. (status.message or "") }
end
if is_true("Reconciling") then
  return say("Progressing", "Reconciling")
end
if is_true("Stalled") then
  return say("Degraded", "Stalled")
end
if status.phase == "AwaitingApproval" then
  return { status = "Suspended", message = "AwaitingApproval: " .. (status.message or "") }
end
if is_true("Ready") then
  return say("Healthy", "Ready")
end
if conditions.Ready ~= nil then
  return say("Progressing", "Ready")
end
return { status = "Progressing", message = "it says nothing of itself yet" }
