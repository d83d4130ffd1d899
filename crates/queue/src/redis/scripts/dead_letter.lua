-- Sets an entry aside, once; it waits on until it is acknowledged. Returns 1, or 0 where it had been set aside.
-- KEYS: state, dead, dead index
-- ARGV: position, reason, attempts, time, record
if redis.call('ZCOUNT', KEYS[3], ARGV[1], ARGV[1]) > 0 then
    return 0
end
-- Removes nothing. A script that has written may go on although Redis has reached its maxmemory: the queue can be emptied even then.
redis.call('XDEL', KEYS[2], '0-1')
local letter = redis.call('HINCRBY', KEYS[1], 'letters', 1) .. '-' .. ARGV[1]
redis.call('XADD', KEYS[2], letter, 'reason', ARGV[2], 'attempts', ARGV[3], 'at', ARGV[4], 'r', ARGV[5])
redis.call('ZADD', KEYS[3], ARGV[1], letter)
return 1
