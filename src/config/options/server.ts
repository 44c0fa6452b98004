import { defineOptions } from '../option-row.ts'

/** The TLS server and the certificates it shows. */
export const serverOptions = defineOptions({
  'tls-server-address': {
    summary: 'Address to listen on.',
    type: 'string',
    commands: ['server', 'server-ping'],
    default: 'localhost',
  },
  'tls-server-auth': {
    summary: 'Clients that may connect: certificate name=stanzas.',
    type: 'hash',
    commands: ['server'],
    required: true,
    example: 'db1.example.com=main',
  },
  'tls-server-ca-file': {
    summary: 'CA certificates that verify clients.',
    type: 'path',
    commands: ['server'],
    required: true,
  },
  'tls-server-cert-file': {
    summary: 'Certificate of the server.',
    type: 'path',
    commands: ['server'],
    required: true,
  },
  'tls-server-key-file': {
    summary: 'Private key of the server.',
    type: 'path',
    commands: ['server'],
    required: true,
  },
  'tls-server-port': {
    summary: 'Port to listen on.',
    type: 'int',
    commands: ['server', 'server-ping'],
    range: [1, 65535],
    default: 8432,
  },
})
