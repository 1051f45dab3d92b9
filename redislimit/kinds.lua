-- Of each kind of limit, what decides on events and what undoes an admission. Both
-- are told the key, and where in ARGV the limit's seven numbers begin. The former
-- returns whether it admits, three numbers that say what the state was before, and
-- what writes the state with those events.
local decide, refund = {}, {}

