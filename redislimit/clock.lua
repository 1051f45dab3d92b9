-- The server's time in microseconds since the Unix epoch. Somebody may set it
-- back: a state that lies by more than so many windows, or fillings of a bucket,
-- further in the future than it can is moved to where it can be.
local time = call('TIME')
local now = time[1] * 1000000 + time[2]
local patience = 1

