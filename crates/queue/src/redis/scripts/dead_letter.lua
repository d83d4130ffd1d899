-- Sets an entry aside and forgets it, once. Returns 1, or 0 where it was gone.
-- KEYS: stream, state, projects, dead, dead index
-- ARGV: group, bytes an entry costs beside its record, position, project, events, reason, attempts, time, record
local id = ARGV[3] .. '-0'
redis.call('XACK', KEYS[1], ARGV[1], id)
if redis.call('XDEL', KEYS[1], id) == 0 then
    return 0
end
local letter = redis.call('HINCRBY', KEYS[2], 'letters', 1) .. '-' .. ARGV[3]
redis.call('XADD', KEYS[4], letter, 'reason', ARGV[6], 'attempts', ARGV[7], 'at', ARGV[8], 'r', ARGV[9])
redis.call('ZADD', KEYS[5], ARGV[3], letter)
redis.call('HINCRBY', KEYS[2], 'bytes', string.format('-%.0f', #ARGV[9] + ARGV[2]))
if tonumber(ARGV[5]) > 0 and redis.call('HINCRBY', KEYS[3], ARGV[4], '-' .. ARGV[5]) <= 0 then
    redis.call('HDEL', KEYS[3], ARGV[4])
end
return 1
