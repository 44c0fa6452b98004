import { createNodeResolver, importX } from 'eslint-plugin-import-x'
import tseslint from 'typescript-eslint'

// Dependencies point one way: cli -> commands -> core -> (format, storage, postgres, codec) -> util.
// Each zone names a folder and what it must not import; docs/decisions/0001-layout.md explains why.
const zone = (target, from, message) => ({ target: `./src/${target}`, from: from.map((f) => `./src/${f}`), message })
const zones = [
  zone('util', ['cli', 'commands', 'config', 'core', 'format', 'storage', 'postgres', 'codec', 'worker'], 'util imports nothing of ours'),
  zone('format', ['cli', 'commands', 'config', 'core', 'storage', 'postgres', 'codec', 'worker'], 'format is pure'),
  zone('storage', ['cli', 'commands', 'config', 'core', 'format', 'postgres', 'codec', 'worker'], 'storage stands alone'),
  zone('postgres', ['cli', 'commands', 'config', 'core', 'format', 'storage', 'codec', 'worker'], 'postgres stands alone'),
  zone('codec', ['cli', 'commands', 'config', 'core', 'format', 'storage', 'postgres', 'worker'], 'codec stands alone'),
  zone('config', ['cli', 'commands', 'core', 'format', 'postgres', 'worker'], 'config reads only util and the name tables'),
  zone('core', ['cli', 'commands', 'config'], 'the engine knows no options and no terminal'),
  { target: './src/core', from: './src/worker', except: ['./executor.ts'], message: 'the engine sees only the executor interface' },
  zone('commands', ['cli'], 'commands return reports and print nothing'),
]

export default tseslint.config(
  { ignores: ['dist/', 'node_modules/', 'coverage/', 'test/vectors/', 'native/'] },
  ...tseslint.configs.recommended,
  {
    files: ['src/**/*.ts', 'test/**/*.ts', 'scripts/**/*.ts'],
    plugins: { 'import-x': importX },
    settings: { 'import-x/resolver-next': [createNodeResolver({ extensions: ['.ts', '.js'] })] },
    rules: {
      'import-x/no-restricted-paths': ['error', { zones }],
      '@typescript-eslint/no-explicit-any': 'error',
      '@typescript-eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_', varsIgnorePattern: '^_' }],
      'no-console': 'error',
    },
  },
  { files: ['scripts/**', 'test/**', 'src/cli/**'], rules: { 'no-console': 'off' } },
)
