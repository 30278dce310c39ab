-- Health of a Model or a Guardrail, by its conditions. Lua 5.1 without string and math, as in argocd-cm.
local health = {}

if obj.status == nil or obj.status.observedGeneration ~= obj.metadata.generation then
  health.status = "Progressing"
  health.message = "the operator has not seen this spec yet"
  return health
end

local found = {}
for _, condition in ipairs(obj.status.conditions or {}) do
  found[condition.type] = condition
end
local function is(kind, status)
  return found[kind] ~= nil and found[kind].status == status
end
local function words(kind)
  local condition = found[kind] or {}
  local reason = condition.reason or "Unknown"
  if condition.message ~= nil and condition.message ~= "" then
    return reason .. ": " .. condition.message
  end
  return reason
end

if is("Stalled", "True") then
  health.status = "Degraded"
  health.message = words("Stalled")
elseif is("Reconciling", "True") then
  health.status = "Progressing"
  health.message = words("Reconciling")
elseif is("Ready", "True") then
  health.status = "Healthy"
  health.message = words("Ready")
elseif is("Ready", "False") then
  health.status = "Degraded"
  health.message = words("Ready")
else
  health.status = "Progressing"
  health.message = "no condition Ready yet"
end
return health
