import { describe, expect, test } from 'vitest'
import { checkTargetTimeline, type TimelineRequest } from '../../../../src/core/restore/timeline.ts'
import type { TimelinePart } from '../../../../src/core/restore/wal-path.ts'
import { memoryStorage } from '../../../../src/storage/memory.ts'
import { putFile } from '../../../../src/storage/whole-file.ts'
import type { StorageDriver } from '../../../../src/storage/driver.ts'

/** Timeline 2 forks from 1 at 0/5000000, 3 from 2 at 0/7000000; 4 forks from 1 earlier. */
async function archive(histories: Record<string, string> = {}): Promise<StorageDriver> {
  const storage = memoryStorage()
  const all = {
    '00000002': '1\t0/5000000\tno recovery target specified\n',
    '00000003': '# a comment\n\n1\t0/5000000\tbefore\n2\t0/7000000\treason\n',
    ...histories,
  }
  for (const [timeline, text] of Object.entries(all)) {
    await putFile(storage, `archive/main/15-1/${timeline}.history`, Buffer.from(text))
  }
  return storage
}

const request = (more: Partial<TimelineRequest> & { timeline?: number; lsn?: bigint } = {}): TimelineRequest => ({
  stanza: 'main',
  archiveId: '15-1',
  major: 15,
  type: 'default',
  signal: new AbortController().signal,
  backup: { label: '20260101-000000F', timeline: more.timeline ?? 1, lsnStart: more.lsn ?? 0x4000028n },
  ...more,
})

describe('recovery goes from the timeline of the backup to the target timeline', () => {
  const [to5, to7] = [0x5000000n, 0x7000000n]
  test.each<[string, Parameters<typeof request>[0], TimelinePart[]]>([
    [
      'latest, for a backup before the fork of its timeline',
      {},
      [{ timeline: 1, endLsn: to5 }, { timeline: 2, endLsn: to7 }, { timeline: 3 }],
    ],
    ['latest is the timeline of the backup', { timeline: 3, lsn: 0x8000000n }, [{ timeline: 3 }]],
    [
      'latest, from the timeline before',
      { timeline: 2, lsn: 0x6000000n },
      [{ timeline: 2, endLsn: to7 }, { timeline: 3 }],
    ],
    [
      'current stays on the timeline of the backup',
      { targetTimeline: 'current', timeline: 2, lsn: 0x9000000n },
      [{ timeline: 2 }],
    ],
    ['an ancestor by number', { targetTimeline: '2' }, [{ timeline: 1, endLsn: to5 }, { timeline: 2 }]],
    [
      'by hexadecimal number',
      { targetTimeline: '0x3' },
      [{ timeline: 1, endLsn: to5 }, { timeline: 2, endLsn: to7 }, { timeline: 3 }],
    ],
    ['immediate stays on the timeline of the backup', { type: 'immediate', lsn: 0x6000000n }, [{ timeline: 1 }]],
    ['current is the default before PostgreSQL 12', { major: 11, lsn: 0x6000000n }, [{ timeline: 1 }]],
  ])('%s', async (_, more, parts) => {
    expect(await checkTargetTimeline(await archive(), request(more))).toEqual(parts)
  })

  test('an archive without history files has only the timeline of the backup', async () => {
    expect(await checkTargetTimeline(memoryStorage(), request())).toEqual([{ timeline: 1 }])
  })
})

describe('a restore that could never reach its target timeline is refused', () => {
  test.each([
    [
      'the fork is before the start of the backup',
      { lsn: 0x6000028n },
      'db-mismatch',
      /3 forked from backup timeline 1 at 0\/5000000.*0\/6000028/,
    ],
    ['the backup begins exactly at the LSN of the fork', { lsn: 0x5000000n }, 'db-mismatch', /forked/],
    [
      'the timeline of the backup is not an ancestor of the target',
      { timeline: 2, targetTimeline: '4' },
      'db-mismatch',
      /timeline 2 .*not in the history of target timeline 4/,
    ],
    ['nonsense', { targetTimeline: 'newest' }, 'db-mismatch', /invalid target timeline 'newest'/],
    ['a timeline that was not archived', { targetTimeline: '9' }, 'file-missing', /timeline 9 is not in the archive/],
    ['a damaged history', { targetTimeline: '5' }, 'format', /timeline 5 in .* is corrupt/],
  ] as [string, Parameters<typeof request>[0], string, RegExp][])('%s', async (_, more, code, words) => {
    const storage = await archive({ '00000004': '1\t0/3000000\tearly\n', '00000005': 'garbage' })
    if (more?.targetTimeline === undefined) {
      await storage.remove('archive/main/15-1/00000004.history')
      await storage.remove('archive/main/15-1/00000005.history')
    }
    const refused = checkTargetTimeline(storage, request(more))
    await expect(refused).rejects.toMatchObject({ code, message: expect.stringMatching(words) as string })
    const error = await refused.catch((reason: { hints: string[] }) => reason)
    expect((error as { hints: string[] }).hints.length).toBeGreaterThan(0)
  })
})
