/**
 * The driver of PostgreSQL tries on every start whether it runs in a Cloudflare Worker. On Node.js 20 that loads `fetch` with its HTTP client, which
 * takes as long as starting half a Node.
 */
export const withoutCloudflare = {
  name: 'without-cloudflare',
  setup({ onLoad, onEnd }) {
    let replaced = false
    onLoad({ filter: /\/node_modules\/pg\/lib\/stream\.js$/ }, () => {
      replaced = true
      return { contents: STREAM, loader: 'js' }
    })
    onEnd(() => {
      if (!replaced) throw new Error('pg has no lib/stream.js any more: see without-cloudflare.mjs')
    })
  },
}

const STREAM = `
module.exports = {
  getStream: () => new (require('net').Socket)(),
  getSecureStream: (options) => require('tls').connect(options),
}`
