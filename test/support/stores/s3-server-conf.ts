import { join } from 'node:path'

/** Paths and ports of one server. */
export interface S3ServerPlace {
  readonly dir: string
  readonly clusterId: string
  readonly httpPort: number
  readonly httpsPort: number
  readonly monitorPort: number
  readonly certFile: string
  readonly keyFile: string
}

/**
 * Configuration of the smallest Ceph cluster that a RADOS Gateway works on: one monitor, one store, one copy of
 * everything, on 127.0.0.1. The intervals of the monitor are short, because the start needs several of them.
 */
export function cephConf(place: S3ServerPlace): string {
  const at = (...parts: string[]) => join(place.dir, ...parts)
  const sections: Record<string, Record<string, string | number | boolean>> = {
    global: {
      fsid: place.clusterId,
      'mon initial members': 'a',
      'mon host': `[v2:127.0.0.1:${place.monitorPort}]`,
      'auth cluster required': 'cephx',
      'auth service required': 'cephx',
      'auth client required': 'cephx',
      keyring: at('keyring'),
      'public addr': '127.0.0.1',
      'cluster addr': '127.0.0.1',
      'ms bind ipv6': false,
      'ms bind msgr1': false,
      'osd pool default size': 1,
      'osd pool default min size': 1,
      'osd pool default pg num': 8,
      'osd pool default pgp num': 8,
      'osd pool default pg autoscale mode': 'off',
      'osd crush chooseleaf type': 0,
      'mon max pg per osd': 1000,
      'mon allow pool size one': true,
      'mon warn on pool no redundancy': false,
      'run dir': at('run'),
      'admin socket': at('run', '$cluster-$name.asok'),
      'pid file': at('run', '$name.pid'),
      'log file': at('log', '$name.log'),
      'mon cluster log file': at('log', 'cluster.log'),
      'debug mon': '0/0',
      'debug osd': '0/0',
      // One line for each request, and no more.
      'debug rgw': '1/5',
    },
    mon: {
      'mon data': at('mon'),
      'paxos propose interval': 0.05,
      'paxos min wait': 0.01,
      'mon data avail warn': 2,
      'mon data avail crit': 1,
    },
    osd: {
      'osd data': at('osd'),
      keyring: at('osd', 'keyring'),
      'osd objectstore': 'bluestore',
      // A sparse file.
      'bluestore block size': 16 * 2 ** 30,
      'bluestore cache size': 128 * 2 ** 20,
      'bluestore cache autotune': false,
      'osd memory target': 896 * 2 ** 20,
      'osd op num shards': 2,
      'osd op num threads per shard': 1,
      'osd class load list': '*',
      'osd class default list': '*',
      'osd max pg log entries': 500,
      'osd min pg log entries': 100,
    },
    'client.admin': {
      'rgw data': at('gateway'),
      'rgw frontends': [
        'beast',
        `endpoint=127.0.0.1:${place.httpPort}`,
        `ssl_endpoint=127.0.0.1:${place.httpsPort}`,
        `ssl_certificate=${place.certFile}`,
        `ssl_private_key=${place.keyFile}`,
        // Without it each small answer on a kept connection waits for the peer's delayed acknowledgement.
        'tcp_nodelay=1',
      ].join(' '),
      'rgw dns name': 'localhost',
      'rgw thread pool size': 64,
      'rgw rados pool pg num min': 8,
      'rgw init timeout': 60,
    },
  }
  return Object.entries(sections)
    .map(([section, values]) =>
      [`[${section}]`, ...Object.entries(values).map(([name, value]) => `${name} = ${value}`), ''].join('\n'),
    )
    .join('\n')
}
