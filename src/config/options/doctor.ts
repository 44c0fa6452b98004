import { defineOptions } from '../option-row.ts'

/** What a site promises, which no other option implies. */
export const doctorOptions = defineOptions({
  'doctor-backup-age': {
    summary: 'Report a repository whose last backup is older; without it twice the usual interval, at least 26 hours.',
    type: 'time',
    commands: ['doctor'],
    range: ['1s', '3650d'],
  },
  'doctor-drill-age': {
    summary: 'Report a last drill that is older.',
    type: 'time',
    commands: ['doctor'],
    range: ['1s', '3650d'],
    default: '35d',
  },
  'doctor-verify-age': {
    summary: 'Report what verify has not read for this long.',
    type: 'time',
    commands: ['doctor'],
    range: ['1s', '3650d'],
    default: '35d',
  },
  'doctor-window': {
    summary: 'Report a repository that cannot restore every point in time of this last period.',
    type: 'time',
    commands: ['doctor'],
    range: ['1s', '3650d'],
  },
})
