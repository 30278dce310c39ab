-- Steps go on. The time makes each request a new one.
local os = require("os")
if obj.metadata.annotations == nil then
  obj.metadata.annotations = {}
end
obj.metadata.annotations["understudy.dev/request"] = "resume;" .. os.date("!%Y-%m-%dT%H:%M:%SZ")
return obj
