// A small S3 service in memory, for exercise.mjs: `node object-store.mjs FILE` writes its port to the file. It checks nothing.
import { createHash } from 'node:crypto'
import { renameSync, writeFileSync } from 'node:fs'
import http from 'node:http'

const objects = new Map()
const uploads = new Map()
const ABOUT = { 'last-modified': new Date().toUTCString(), 'content-type': 'application/octet-stream' }
const quoted = (bytes) => `"${createHash('md5').update(bytes).digest('hex')}"`
const xml = (text) => ({ headers: { 'content-type': 'application/xml' }, body: `<?xml version="1.0"?>\n${text}` })
const failure = (status, code) => ({ ...xml(`<Error><Code>${code}</Code></Error>`), status })

const METHODS = {
  GET(name, query, headers) {
    if (query.has('uploads'))
      return xml('<ListMultipartUploadsResult><IsTruncated>false</IsTruncated></ListMultipartUploadsResult>')
    if (query.has('list-type')) return list(query.get('prefix') ?? '', query.get('delimiter'))
    const whole = objects.get(name)
    if (whole === undefined) return failure(404, 'NoSuchKey')
    const [, first, last] = /^bytes=(\d+)-(\d*)$/.exec(headers.range ?? '') ?? []
    const answer = { headers: { ...ABOUT, etag: quoted(whole) }, body: whole }
    if (first === undefined) return answer
    if (Number(first) >= whole.length) return failure(416, 'InvalidRange')
    answer.body = whole.subarray(Number(first), last === '' ? undefined : Number(last) + 1)
    answer.headers['content-range'] = `bytes ${first}-${Number(first) + answer.body.length - 1}/${whole.length}`
    return { ...answer, status: 206 }
  },
  HEAD: (name, query, headers) => METHODS.GET(name, query, headers),
  PUT(name, query, headers, body) {
    if (headers['if-none-match'] !== undefined && objects.has(name)) return failure(412, 'PreconditionFailed')
    if (query.has('partNumber')) uploads.get(query.get('uploadId')).set(Number(query.get('partNumber')), body)
    else objects.set(name, body)
    return { headers: { etag: quoted(body) } }
  },
  POST(name, query, headers, body) {
    if (query.has('delete')) {
      const names = [...body.toString().matchAll(/<Key>([^<]*)<\/Key>/g)].map(([, key]) => key)
      for (const key of names) objects.delete(key)
      return xml(`<DeleteResult>${names.map((key) => `<Deleted><Key>${key}</Key></Deleted>`).join('')}</DeleteResult>`)
    }
    if (query.has('uploads')) {
      const id = String(uploads.size + 1)
      uploads.set(id, new Map())
      return xml(`<InitiateMultipartUploadResult><UploadId>${id}</UploadId></InitiateMultipartUploadResult>`)
    }
    const parts = [...uploads.get(query.get('uploadId'))].sort(([a], [b]) => a - b)
    objects.set(name, Buffer.concat(parts.map(([, part]) => part)))
    return xml('<CompleteMultipartUploadResult><ETag>"e"</ETag></CompleteMultipartUploadResult>')
  },
  DELETE(name) {
    objects.delete(name)
    return { status: 204 }
  },
}

function list(prefix, delimiter) {
  const found = new Set()
  for (const name of [...objects.keys()].sort()) {
    if (!name.startsWith(prefix)) continue
    const end = delimiter === null ? -1 : name.indexOf(delimiter, prefix.length)
    found.add(end === -1 ? name : name.slice(0, end + 1))
  }
  const entries = [...found].map((name) =>
    objects.has(name)
      ? `<Contents><Key>${name}</Key><LastModified>${new Date().toISOString()}</LastModified><Size>${objects.get(name).length}</Size></Contents>`
      : `<CommonPrefixes><Prefix>${name}</Prefix></CommonPrefixes>`,
  )
  return xml(`<ListBucketResult><IsTruncated>false</IsTruncated>${entries.join('')}</ListBucketResult>`)
}

const server = http.createServer((request, response) => {
  const chunks = []
  request.on('data', (chunk) => chunks.push(chunk))
  request.on('end', () => {
    const { pathname, searchParams } = new URL(request.url, 'http://localhost')
    const name = decodeURIComponent(pathname).replace(/^\/bucket\//, '')
    const answer = METHODS[request.method](name, searchParams, request.headers, Buffer.concat(chunks))
    const { status = 200, headers = {}, body = '' } = answer
    response.writeHead(status, { ...headers, 'content-length': Buffer.byteLength(body) }).end(body)
  })
})
server.listen(0, '127.0.0.1', () => {
  const [, , file] = process.argv
  writeFileSync(`${file}.new`, String(server.address().port))
  renameSync(`${file}.new`, file)
})
