// Free TCP ports on the loopback interface.
import { createServer } from 'node:net'

export function isFree(port, host = '127.0.0.1') {
  return new Promise(resolve => {
    const server = createServer()
    server.once('error', () => resolve(false))
    server.listen({ port, host, exclusive: true }, () => server.close(() => resolve(true)))
  })
}

/** A port that the system chooses. */
export function anyFreePort(host = '127.0.0.1') {
  return new Promise((resolve, reject) => {
    const server = createServer()
    server.once('error', reject)
    server.listen({ port: 0, host }, () => {
      const { port } = server.address()
      server.close(() => resolve(port))
    })
  })
}

/**
 * `count` different free ports: the wanted ones where they are free, then from `base` upwards, or the system's choice
 * when `base` is 0. A fixed base below the ephemeral range lets a fleet come back on the same ports.
 */
export async function freePorts(count, wanted, base) {
  const ports = []
  for (const port of wanted) {
    if (ports.length < count && !ports.includes(port) && (await isFree(port))) ports.push(port)
  }
  for (let port = base; base > 0 && ports.length < count && port < base + 200; port += 1) {
    if (!ports.includes(port) && (await isFree(port))) ports.push(port)
  }
  while (ports.length < count) {
    const port = await anyFreePort()
    if (!ports.includes(port)) ports.push(port)
  }
  return ports
}
