"""The questions of the quizzes, a file for each part of the book."""
