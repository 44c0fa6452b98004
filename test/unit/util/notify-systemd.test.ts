import { join } from 'node:path'
import { expect, test } from 'vitest'
import { notifySystemd } from '../../../src/util/notify-systemd.ts'
import { NotifySocket } from '../../support/hosts/notify-socket.ts'
import { makeTestDir } from '../../support/processes/test-user.ts'

test.each([join(makeTestDir('notify'), 'socket'), `@pgts-test-${process.pid}`])('a state arrives at %s', (path) => {
  using socket = new NotifySocket(path)
  expect(notifySystemd('READY=1', { NOTIFY_SOCKET: path })).toBeUndefined()
  expect(notifySystemd('RELOADING=1\nMONOTONIC_USEC=12', { NOTIFY_SOCKET: path })).toBeUndefined()
  expect(socket.received()).toEqual(['READY=1', 'RELOADING=1\nMONOTONIC_USEC=12'])
})

test('nothing is sent without NOTIFY_SOCKET, and a socket that is missing is reported', () => {
  expect(notifySystemd('READY=1', {})).toBeUndefined()
  expect(notifySystemd('READY=1', { NOTIFY_SOCKET: '/nowhere/socket' })).toBe('sendto failed with errno 2')
})
