-- Forgets dead letters. Returns how many there were.
-- KEYS: dead, dead index
-- ARGV: positions
local gone = 0
for _, position in ipairs(ARGV) do
    for _, letter in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], position, position)) do
        redis.call('XDEL', KEYS[1], letter)
        redis.call('ZREM', KEYS[2], letter)
        gone = gone + 1
    end
end
return gone
