module github.com/understudy-ha/understudy

go 1.26.0
