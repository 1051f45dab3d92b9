-- Of each kind of limit: how many numbers it has in ARGV, what decides on events,
-- and what undoes an admission. The latter two are told the key, and where in ARGV
-- the numbers begin. What decides returns whether it admits, three numbers that say
-- what the state was before, and what writes the state with those events.
local numbers, decide, refund = {}, {}, {}
local call = redis.call

