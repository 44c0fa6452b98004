import { createServer } from 'node:net'

/** Below the ports that the kernel gives to programs that ask for any: those of a test that runs at the same time. */
const [FIRST, COUNT] = [20_000, 12_000]

/** Free ports on 127.0.0.1; all are opened before the first is closed, so they differ. */
export async function freePorts(count: number): Promise<number[]> {
  const servers = []
  while (servers.length < count) {
    const port = FIRST + Math.floor(Math.random() * COUNT)
    const server = createServer()
    const isFree = await new Promise<boolean>((resolve) => {
      server.once('error', () => resolve(false))
      server.listen(port, '127.0.0.1', () => resolve(true))
    })
    if (isFree) servers.push({ port, server })
  }
  await Promise.all(servers.map(({ server }) => new Promise((resolve) => server.close(resolve))))
  return servers.map(({ port }) => port)
}
