-- Undoes an admission under each of the limits whose keys these are, as far as
-- it still counts. ARGV is of each limit its kind and its numbers.
local arg = 1
for i = 1, #KEYS do
	local kind = ARGV[arg]
	refund[kind](KEYS[i], arg + 1)
	arg = arg + 1 + numbers[kind]
end
return 1
