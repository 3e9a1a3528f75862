-- Requests of a file (REQUESTS, one per line: path, tab, body), one after another; the result as one line of JSON.
local requests = {}
local next_one = 0

function init(args)
  wrk.headers["Content-Type"] = "application/json"
  for line in io.lines(os.getenv("REQUESTS")) do
    local path, body = line:match("^(.-)\t(.*)$")
    requests[#requests + 1] = wrk.format("POST", path, wrk.headers, body)
  end
end

-- Without DELAY_MS a connection sends again as soon as it is answered. The pauses differ, or all connections would
-- come at the same moment again and again.
if os.getenv("DELAY_MS") then
  local pause = tonumber(os.getenv("DELAY_MS"))
  function delay()
    return math.random(0, 2 * pause)
  end
end

function request()
  next_one = next_one % #requests + 1
  return requests[next_one]
end

function done(summary, latency, _)
  local errors = summary.errors
  io.write(string.format(
    '\n{"requests":%d,"seconds":%.3f,"p50_ms":%.3f,"p99_ms":%.3f,"refused":%d,"broken":%d}\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1000, latency:percentile(99) / 1000,
    errors.status, errors.connect + errors.read + errors.write + errors.timeout))
end
