/* cblas_sgemm for MLX: a product with one row goes to sgemv, which reads the matrix once; sgemm would copy it first.
 *
 * Every product of a decoding step has one row, and its time is that of reading the weights, so this is about twice as
 * fast. Everything else is passed on. Compiled and put before OpenBLAS by blas.py, which also sets the two pointers.
 */

enum { ROW_MAJOR = 101, NO_TRANS = 111, TRANS = 112 };

typedef void gemm(int, int, int, int, int, int, float, const float *, int, const float *, int, float, float *, int);
typedef void gemv(int, int, int, int, float, const float *, int, const float *, int, float, float *, int);

gemm *menny_sgemm;
gemv *menny_sgemv;
int menny_one_row = 1; /* 0: pass everything on, to measure what OpenBLAS does by itself */

/* C [m, n] = alpha A [m, k] B [k, n] + beta C */
void cblas_sgemm(int order, int trans_a, int trans_b, int m, int n, int k, float alpha, const float *a, int lda,
                 const float *b, int ldb, float beta, float *c, int ldc) {
  if (order != ROW_MAJOR || m != 1 || !menny_one_row) {
    menny_sgemm(order, trans_a, trans_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
    return;
  }
  int step = trans_a == NO_TRANS ? 1 : lda; /* from one number of A's only row to the next */
  if (trans_b == NO_TRANS)
    menny_sgemv(order, TRANS, k, n, alpha, b, ldb, a, step, beta, c, 1);
  else
    menny_sgemv(order, NO_TRANS, n, k, alpha, b, ldb, a, step, beta, c, 1);
}
