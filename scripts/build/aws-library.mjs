// AWS's client as a separate bundle (cli/aws.cjs), shared by all entries: loading it takes longer than everything else that a
// command on S3 does before its first request.

/** The names that the program uses. The build fails if one is missing here or does not exist in the library. */
const USED = {
  '@aws-sdk/client-s3': [
    'AbortMultipartUploadCommand',
    'CompleteMultipartUploadCommand',
    'CreateMultipartUploadCommand',
    'DeleteObjectCommand',
    'DeleteObjectsCommand',
    'GetObjectCommand',
    'HeadObjectCommand',
    'ListMultipartUploadsCommand',
    'ListObjectVersionsCommand',
    'ListObjectsV2Command',
    'PutObjectCommand',
    'S3Client',
    'UploadPartCommand',
  ],
  '@smithy/node-http-handler': ['NodeHttpHandler'],
}

export const awsEntry = Object.entries(USED)
  .map(([library, names]) => `export { ${names.join(', ')} } from '${library}'\n`)
  .join('')

/** Replaces imports of the library by the bundle; its path is the same from every directory of dist. */
export const awsLibrary = {
  name: 'aws-library',
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /^(@aws-sdk\/client-s3|@smithy\/node-http-handler)$/ }, ({ path, importer }) =>
      importer.includes('/node_modules/') ? undefined : { path, namespace: 'aws-library' },
    )
    onResolve({ filter: /^\.\.\/cli\/aws\.cjs$/ }, ({ path }) => ({ path, external: true }))
    onLoad({ filter: /.*/, namespace: 'aws-library' }, ({ path }) => ({
      contents: `export const { ${USED[path].join(', ')} } = require('../cli/aws.cjs')`,
    }))
  },
}
