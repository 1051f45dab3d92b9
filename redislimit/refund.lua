-- Undoes an admission under each of the limits whose keys these are, as far as
-- it still counts. ARGV is of each limit its kind and seven numbers.
for i = 1, #KEYS do
	refund[ARGV[8 * i - 7]](KEYS[i], 8 * i - 6)
end
return 1
