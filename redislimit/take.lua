-- As takeall.lua, of one limit, without its tables: decides on events under the
-- limit whose key this is, and admits them if it does.
-- ARGV is 1 to take and 0 to peek, and then the limit's numbers. The reply is now,
-- whether they are admitted, and the three numbers that say what it was before.
local key = KEYS[1]
local ok, a, b, c, d, e, f, g = take(key, 2)
if ok and ARGV[1] == '1' then add(key, 2, a, b, c, d, e, f, g) end
return {now, ok and 1 or 0, a, b, c}
