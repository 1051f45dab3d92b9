-- Undoes an admission under each of the limits whose keys these are, as far as
-- it still counts. ARGV is of each limit its numbers.
for i, key in ipairs(KEYS) do
	refund[i](key, from[i])
end
return 1
