# Goldens of test_kayenta.py, from R's own wilcox.test; needed by nobody who only runs the tests.
# Reads a name, the canary's points and the baseline's, three lines a sample, numbers as hexadecimal doubles.
# python tests/delivery/rollout/test_kayenta.py | Rscript tests/delivery/rollout/kayenta.R > tests/delivery/rollout/kayenta.csv
lines <- readLines(file("stdin"))
numbers <- function(line) as.numeric(strsplit(line, " ")[[1]])
# The estimate as Kayenta has it: where the rank sum is still corrected for continuity, asked of uniroot as R asks.
corrected <- function(x, y) {
  n <- as.double(length(x))
  m <- as.double(length(y))
  standardised <- function(shift) {
    ranks <- rank(c(x - shift, y))
    tied <- as.double(table(ranks))
    above <- sum(ranks[seq_along(x)]) - n * (n + 1) / 2 - n * m / 2
    sigma <- sqrt((n * m / 12) * ((n + m + 1) - sum(tied^3 - tied) / ((n + m) * (n + m - 1))))
    (above - sign(above) / 2) / sigma
  }
  uniroot(standardised, c(min(x) - max(y), max(x) - min(y)), tol = 1e-4)$root
}
cat(sprintf("# %s: wilcox.test(canary, baseline, conf.int=TRUE, conf.level=0.98, exact=FALSE, correct=TRUE)\n", R.version.string))
cat("sample,low,high,r_estimate,estimate,label\n")
for (at in seq(1, length(lines), 3)) {
  x <- numbers(lines[at + 1])
  y <- numbers(lines[at + 2])
  if (length(unique(x)) == 1 && length(unique(y)) == 1) next # all tied: an error in R
  found <- wilcox.test(x, y, conf.int = TRUE, conf.level = 0.98, mu = 0, paired = FALSE, exact = FALSE, correct = TRUE)
  interval <- as.numeric(found$conf.int)
  estimate <- corrected(x, y)
  effect <- if (mean(x) == 0 || mean(y) == 0) NA else mean(x) / mean(y)
  label <- "pass"
  if (interval[1] > 0.25 * abs(estimate) && (is.na(effect) || effect >= 1)) label <- "high"
  if (interval[2] < -0.25 * abs(estimate) && (is.na(effect) || effect <= 1)) label <- "low"
  cat(sprintf("%s,%.17g,%.17g,%.17g,%.17g,%s\n", lines[at], interval[1], interval[2], as.numeric(found$estimate), estimate, label))
}
