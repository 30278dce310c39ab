-- The failed revision that the spec asks for may start again. The time makes each request a new one.
local os = require("os")
if obj.metadata.annotations == nil then
  obj.metadata.annotations = {}
end
obj.metadata.annotations["understudy.dev/request"] = "retry;" .. os.date("!%Y-%m-%dT%H:%M:%SZ")
return obj
