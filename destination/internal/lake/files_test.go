package lake_test
